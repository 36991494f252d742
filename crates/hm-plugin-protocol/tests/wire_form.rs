//! The exact JSON of every kind of event: a published form, which consumers outside this repository read.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use chrono::{DateTime, Utc};
use hm_plugin_protocol::events::{
    Artifact, ArtifactPattern, BuildEndStatus, BuildEvent, BuildRef, CANCELED, MoreArtifacts, PinnedImage,
    PlanSummary, RunHeader, SCHEMA_VERSION, SKIPPED, StdStream, StepEndStatus, TIMED_OUT, TestSummary,
    schema,
};
use hm_plugin_protocol::executor::SnapshotRef;
use hm_plugin_protocol::old::Upgrade;
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

const STEP: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_0001);
const RUN: Uuid = Uuid::from_u128(0x1a2b_3c4d_5e6f_4a1b_8c2d_3e4f_5a6b_7c8d);

fn ts() -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000, 5_000_000).unwrap()
}

fn plan() -> PlanSummary {
    PlanSummary {
        step_count: 3,
        chain_count: 2,
        default_runner: "local".into(),
    }
}

/// Checks both ways: the event is this text, and this text is the event.
fn is(event: &BuildEvent, json: &str) {
    assert_eq!(serde_json::to_string(event).unwrap(), json);
    assert_eq!(&serde_json::from_str::<BuildEvent>(json).unwrap(), event);
}

#[test]
fn build_start() {
    let start = |schema_version, header| BuildEvent::BuildStart {
        run_id: RUN,
        plan: plan(),
        started_at: ts(),
        schema_version,
        header,
    };
    is(
        &start(None, None),
        r#"{"kind":"build_start","run_id":"1a2b3c4d-5e6f-4a1b-8c2d-3e4f5a6b7c8d","plan":{"step_count":3,"chain_count":2,"default_runner":"local"},"started_at":"2025-06-15T15:06:40.005Z"}"#,
    );
    is(
        &start(
            Some(SCHEMA_VERSION),
            Some(RunHeader {
                pipeline: Some("ci".into()),
                ..RunHeader::default()
            }),
        ),
        r#"{"kind":"build_start","run_id":"1a2b3c4d-5e6f-4a1b-8c2d-3e4f5a6b7c8d","plan":{"step_count":3,"chain_count":2,"default_runner":"local"},"started_at":"2025-06-15T15:06:40.005Z","schema_version":2,"header":{"pipeline":"ci"}}"#,
    );
    let image = |name: &str| PinnedImage {
        name: name.into(),
        digest: "sha256:c0ffee".into(),
    };
    is(
        &start(
            None,
            Some(RunHeader {
                images: vec![image("rust:1.95"), image("postgres:17")],
                ..RunHeader::default()
            }),
        ),
        r#"{"kind":"build_start","run_id":"1a2b3c4d-5e6f-4a1b-8c2d-3e4f5a6b7c8d","plan":{"step_count":3,"chain_count":2,"default_runner":"local"},"started_at":"2025-06-15T15:06:40.005Z","header":{"images":[{"name":"rust:1.95","digest":"sha256:c0ffee"},{"name":"postgres:17","digest":"sha256:c0ffee"}]}}"#,
    );
}

#[test]
fn build_accepted() {
    let build = BuildRef {
        run_id: RUN,
        number: None,
        org: None,
        pipeline: "ci".into(),
    };
    is(
        &BuildEvent::BuildAccepted {
            build,
            watch_url: None,
        },
        r#"{"kind":"build_accepted","build":{"run_id":"1a2b3c4d-5e6f-4a1b-8c2d-3e4f5a6b7c8d","pipeline":"ci"}}"#,
    );
    let build = BuildRef {
        run_id: RUN,
        number: Some(7),
        org: Some("acme".into()),
        pipeline: "ci".into(),
    };
    is(
        &BuildEvent::BuildAccepted {
            build,
            watch_url: Some("https://x/7".into()),
        },
        r#"{"kind":"build_accepted","build":{"run_id":"1a2b3c4d-5e6f-4a1b-8c2d-3e4f5a6b7c8d","number":7,"org":"acme","pipeline":"ci"},"watch_url":"https://x/7"}"#,
    );
}

#[test]
fn step_queued() {
    let queued = |parent_key, command| BuildEvent::StepQueued {
        step_id: STEP,
        key: "build".into(),
        chain_idx: 0,
        parent_key,
        display_name: "Build".into(),
        command,
    };
    is(
        &queued(None, None),
        r#"{"kind":"step_queued","step_id":"00000000-0000-4000-8000-000000000001","key":"build","chain_idx":0,"display_name":"Build"}"#,
    );
    is(
        &queued(Some("deps".into()), Some("make".into())),
        r#"{"kind":"step_queued","step_id":"00000000-0000-4000-8000-000000000001","key":"build","chain_idx":0,"parent_key":"deps","display_name":"Build","command":"make"}"#,
    );
}

#[test]
fn step_start() {
    let start = |image, cache_miss| BuildEvent::StepStart {
        step_id: STEP,
        runner: "local".into(),
        image,
        cache_miss,
        attempt: None,
        previous_exit_code: None,
    };
    is(
        &start(None, None),
        r#"{"kind":"step_start","step_id":"00000000-0000-4000-8000-000000000001","runner":"local"}"#,
    );
    is(
        &start(Some("host".into()), Some("a.c has changed".into())),
        r#"{"kind":"step_start","step_id":"00000000-0000-4000-8000-000000000001","runner":"local","image":"host","cache_miss":"a.c has changed"}"#,
    );
}

#[test]
fn step_log() {
    let log = |stream, partial| BuildEvent::StepLog {
        step_id: STEP,
        stream,
        line: "a\t\u{fffd}".into(),
        ts: ts(),
        partial,
        service: None,
        attempt: None,
    };
    is(
        &log(StdStream::Stdout, false),
        r#"{"kind":"step_log","step_id":"00000000-0000-4000-8000-000000000001","stream":"stdout","line":"a\t�","ts":"2025-06-15T15:06:40.005Z"}"#,
    );
    is(
        &log(StdStream::Stderr, true),
        r#"{"kind":"step_log","step_id":"00000000-0000-4000-8000-000000000001","stream":"stderr","line":"a\t�","ts":"2025-06-15T15:06:40.005Z","partial":true}"#,
    );
}

#[test]
fn service_line_is_step_log_with_service() {
    is(
        &BuildEvent::StepLog {
            step_id: STEP,
            stream: StdStream::Stderr,
            line: "ready".into(),
            ts: ts(),
            partial: true,
            service: Some("db".into()),
            attempt: None,
        },
        r#"{"kind":"step_log","step_id":"00000000-0000-4000-8000-000000000001","stream":"stderr","line":"ready","ts":"2025-06-15T15:06:40.005Z","partial":true,"service":"db"}"#,
    );
}

#[test]
fn retry_is_another_step_start_with_attempt() {
    is(
        &BuildEvent::StepStart {
            step_id: STEP,
            runner: "local".into(),
            image: None,
            cache_miss: None,
            attempt: Some(2),
            previous_exit_code: Some(1),
        },
        r#"{"kind":"step_start","step_id":"00000000-0000-4000-8000-000000000001","runner":"local","attempt":2,"previous_exit_code":1}"#,
    );
}

#[test]
fn step_cache_hit() {
    is(
        &BuildEvent::StepCacheHit {
            step_id: STEP,
            key: "c0ffee".into(),
            tag: "snap".into(),
            artifacts: vec![],
            more_artifacts: None,
            artifact_patterns: vec![],
        },
        r#"{"kind":"step_cache_hit","step_id":"00000000-0000-4000-8000-000000000001","key":"c0ffee","tag":"snap"}"#,
    );
}

#[test]
fn skip_is_step_end_that_is_no_pass() {
    is(
        &BuildEvent::skipped(STEP, "test failed".into()),
        r#"{"kind":"step_end","step_id":"00000000-0000-4000-8000-000000000001","exit_code":-1,"duration_ms":0,"status":"skipped","message":"test failed"}"#,
    );
    assert_eq!(StepEndStatus::of(None, SKIPPED), StepEndStatus::Failed);
}

#[test]
fn artifacts_are_listed_in_the_end_and_in_the_cache_hit() {
    let artifact = |tests| Artifact {
        path: "report/unit.xml".into(),
        bytes: 12,
        digest: "c0ffee".into(),
        tests,
    };
    let summary = TestSummary {
        total: 3,
        failed: 1,
        skipped: 0,
        failures: vec!["math adds".into()],
    };
    is(
        &BuildEvent::StepEnd {
            step_id: STEP,
            exit_code: 0,
            duration_ms: 12,
            snapshot: None,
            status: Some(StepEndStatus::Passed),
            message: None,
            artifacts: vec![artifact(Some(summary)), artifact(None)],
            more_artifacts: None,
            artifact_patterns: vec![],
        },
        r#"{"kind":"step_end","step_id":"00000000-0000-4000-8000-000000000001","exit_code":0,"duration_ms":12,"status":"passed","artifacts":[{"path":"report/unit.xml","bytes":12,"digest":"c0ffee","tests":{"total":3,"failed":1,"skipped":0,"failures":["math adds"]}},{"path":"report/unit.xml","bytes":12,"digest":"c0ffee"}]}"#,
    );
    is(
        &BuildEvent::StepCacheHit {
            step_id: STEP,
            key: "c0ffee".into(),
            tag: "snap".into(),
            artifacts: vec![artifact(None)],
            more_artifacts: Some(MoreArtifacts {
                count: 2,
                bytes: 30,
                tests: None,
            }),
            artifact_patterns: vec![ArtifactPattern {
                pattern: "report/*.xml".into(),
                count: 3,
                bytes: 42,
            }],
        },
        r#"{"kind":"step_cache_hit","step_id":"00000000-0000-4000-8000-000000000001","key":"c0ffee","tag":"snap","artifacts":[{"path":"report/unit.xml","bytes":12,"digest":"c0ffee"}],"more_artifacts":{"count":2,"bytes":30},"artifact_patterns":[{"pattern":"report/*.xml","count":3,"bytes":42}]}"#,
    );
}

#[test]
fn kind_of_a_newer_version_is_unknown() {
    let json = r#"{"step_id":7,"kind":"step_mood","mood":{"deep":[1]}}"#;
    assert_eq!(
        serde_json::from_str::<BuildEvent>(json).unwrap(),
        BuildEvent::Unknown
    );
}

#[test]
fn status_of_a_newer_version_is_read_by_the_exit_code() {
    let end = |status: &str| {
        let json = format!(
            r#"{{"kind":"step_end","step_id":"00000000-0000-4000-8000-000000000001","exit_code":124,"duration_ms":1,"status":{status}}}"#
        );
        match serde_json::from_str(&json).unwrap() {
            BuildEvent::StepEnd {
                exit_code, status, ..
            } => StepEndStatus::of(status, exit_code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end(r#""in_a_mood""#), StepEndStatus::TimedOut);
    assert_eq!(end("null"), StepEndStatus::TimedOut);
    assert_eq!(end(r#""soft_failed""#), StepEndStatus::SoftFailed);
}

#[test]
fn exit_code_has_one_meaning() {
    use StepEndStatus as Step;
    for (exit_code, step, build) in [
        (0, Step::Passed, BuildEndStatus::Passed),
        (1, Step::Failed, BuildEndStatus::Failed),
        (2, Step::Failed, BuildEndStatus::Failed),
        (137, Step::Failed, BuildEndStatus::Failed),
        (TIMED_OUT, Step::TimedOut, BuildEndStatus::TimedOut),
        (CANCELED, Step::Canceled, BuildEndStatus::Canceled),
    ] {
        assert_eq!(StepEndStatus::of(None, exit_code), step);
        assert_eq!(BuildEndStatus::of(exit_code), build);
    }
    assert_eq!(StepEndStatus::of(Some(Step::Failed), TIMED_OUT), Step::Failed);
}

/// A record of version 1: with kinds that are no longer written.
const OLD: &str = r#"
{"kind":"build_start","run_id":"1a2b3c4d-5e6f-4a1b-8c2d-3e4f5a6b7c8d","plan":{"step_count":3,"chain_count":2,"default_runner":"local"},"started_at":"2025-06-15T15:06:40.005Z","schema_version":1}
{"kind":"step_cache_hit","step_id":"00000000-0000-4000-8000-000000000001","key":"c0ffee","tag":"snap"}
{"kind":"step_log","step_id":"00000000-0000-4000-8000-000000000002","stream":"stdout","line":"between","ts":"2025-06-15T15:06:40.005Z"}
{"kind":"step_artifact","step_id":"00000000-0000-4000-8000-000000000001","path":"deps.txt","bytes":1,"digest":"d"}
{"kind":"step_artifact","step_id":"00000000-0000-4000-8000-000000000002","path":"of-the-first-attempt","bytes":1,"digest":"d"}
{"kind":"step_retry","step_id":"00000000-0000-4000-8000-000000000002","attempt":2,"exit_code":9}
{"kind":"service_log","step_id":"00000000-0000-4000-8000-000000000002","service":"db","stream":"stderr","line":"ready","ts":"2025-06-15T15:06:40.005Z","partial":true}
{"kind":"step_mood"}
{"kind":"step_artifact","step_id":"00000000-0000-4000-8000-000000000002","path":"out","bytes":2,"digest":"d"}
{"kind":"step_end","step_id":"00000000-0000-4000-8000-000000000002","exit_code":0,"duration_ms":12}
{"kind":"step_skipped","step_id":"00000000-0000-4000-8000-000000000003","key":"deploy","reason":"test failed"}
{"kind":"build_end","exit_code":1,"duration_ms":9}
"#;

#[test]
fn old_record_is_read_as_events_of_today() {
    let (mut upgrade, mut events) = (Upgrade::default(), std::collections::VecDeque::new());
    for line in OLD.trim().lines() {
        upgrade.line(line.as_bytes(), &mut events).unwrap();
    }
    upgrade.finish(&mut events);
    let lines: Vec<_> = events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    insta::assert_snapshot!("old_record", lines.join("\n"));
}

#[test]
fn step_end() {
    let end = |snapshot, status, message| BuildEvent::StepEnd {
        step_id: STEP,
        exit_code: 137,
        duration_ms: 12,
        snapshot,
        status,
        message,
        artifacts: vec![],
        more_artifacts: None,
        artifact_patterns: vec![],
    };
    is(
        &end(None, None, None),
        r#"{"kind":"step_end","step_id":"00000000-0000-4000-8000-000000000001","exit_code":137,"duration_ms":12}"#,
    );
    for (status, name) in [
        (StepEndStatus::Passed, "passed"),
        (StepEndStatus::Failed, "failed"),
        (StepEndStatus::SoftFailed, "soft_failed"),
        (StepEndStatus::Canceled, "canceled"),
        (StepEndStatus::TimedOut, "timed_out"),
        (StepEndStatus::Skipped, "skipped"),
    ] {
        is(
            &end(
                Some(SnapshotRef("s1".into())),
                Some(status),
                Some("killed".into()),
            ),
            &format!(
                r#"{{"kind":"step_end","step_id":"00000000-0000-4000-8000-000000000001","exit_code":137,"duration_ms":12,"snapshot":"s1","status":"{name}","message":"killed"}}"#
            ),
        );
    }
}

#[test]
fn chain_failed() {
    let event = BuildEvent::ChainFailed {
        chain_idx: 1,
        failed_step_id: STEP,
        failed_step_key: "test".into(),
        exit_code: 1,
        message: "test failed".into(),
        ts: ts(),
    };
    is(
        &event,
        r#"{"kind":"chain_failed","chain_idx":1,"failed_step_id":"00000000-0000-4000-8000-000000000001","failed_step_key":"test","exit_code":1,"message":"test failed","ts":"2025-06-15T15:06:40.005Z"}"#,
    );
}

#[test]
fn build_end() {
    is(
        &BuildEvent::BuildEnd {
            exit_code: 130,
            duration_ms: 9,
        },
        r#"{"kind":"build_end","exit_code":130,"duration_ms":9}"#,
    );
}

#[test]
fn fields_of_a_newer_version_are_ignored() {
    let json = r#"{"exit_code":0,"mood":{"deep":[1]},"duration_ms":9,"kind":"build_end"}"#;
    assert_eq!(
        serde_json::from_str::<BuildEvent>(json).unwrap(),
        BuildEvent::BuildEnd {
            exit_code: 0,
            duration_ms: 9
        }
    );
}

#[test]
fn what_a_plain_consumer_may_send_as_null_is_absent() {
    let json = r#"{"kind":"step_end","step_id":"00000000-0000-4000-8000-000000000001","exit_code":0,"duration_ms":1,"snapshot":null}"#;
    assert!(matches!(
        serde_json::from_str(json).unwrap(),
        BuildEvent::StepEnd { snapshot: None, .. }
    ));
}

#[test]
fn a_missing_field_is_named() {
    let error = serde_json::from_str::<BuildEvent>(r#"{"kind":"build_end","exit_code":0}"#).unwrap_err();
    assert!(
        error.to_string().contains("missing field `duration_ms`"),
        "{error}"
    );
}

#[test]
fn the_schema_names_every_kind() {
    // Without an order of its own: what else is built along may have serde_json keep the order of insertion.
    insta::with_settings!({ sort_maps => true }, {
        insta::assert_json_snapshot!("schema", schema().to_value());
    });
    let schema = schema().to_value();
    let kinds: Vec<&str> = schema["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["properties"]["kind"]["const"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "build_start",
            "build_accepted",
            "step_queued",
            "step_start",
            "step_log",
            "step_cache_hit",
            "step_end",
            "chain_failed",
            "build_end"
        ]
    );
}

#[test]
fn what_is_required_is_what_the_design_publishes() {
    let schema = schema().to_value();
    let required = |kind: &str| -> Vec<String> {
        let one = schema["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["properties"]["kind"]["const"] == kind);
        let mut names: Vec<String> = one.unwrap()["required"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .filter(|name| *name != "kind")
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    };
    assert_eq!(required("build_start"), ["plan", "run_id", "started_at"]);
    assert_eq!(required("build_accepted"), ["build"]);
    assert_eq!(
        required("step_queued"),
        ["chain_idx", "display_name", "key", "step_id"]
    );
    assert_eq!(required("step_start"), ["runner", "step_id"]);
    assert_eq!(required("step_log"), ["line", "step_id", "stream", "ts"]);
    assert_eq!(required("step_cache_hit"), ["key", "step_id", "tag"]);
    assert_eq!(required("step_end"), ["duration_ms", "exit_code", "step_id"]);
    assert_eq!(
        required("chain_failed"),
        [
            "chain_idx",
            "exit_code",
            "failed_step_id",
            "failed_step_key",
            "message",
            "ts"
        ]
    );
    assert_eq!(required("build_end"), ["duration_ms", "exit_code"]);
}

proptest! {
    #[test]
    fn any_line_survives_the_wire(line in any::<String>(), partial: bool, seconds in 0_i64..4_000_000_000, nanos in 0_u32..1_000_000_000) {
        let ts = DateTime::from_timestamp(seconds, nanos).unwrap();
        let event = BuildEvent::StepLog { step_id: STEP, stream: StdStream::Stdout, line, ts, partial, service: None, attempt: None };
        let json = serde_json::to_string(&event).unwrap();
        prop_assert!(!json.contains('\n'));
        prop_assert_eq!(serde_json::from_str::<BuildEvent>(&json).unwrap(), event);
    }
}
