//! A recorded build with everything in it that a renderer has to show.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use hm_plugin_protocol::events::{
    Artifact, BuildEvent, BuildRef, PinnedImage, PlanSummary, RunHeader, StdStream, StepEndStatus,
    TestSummary,
};
use hm_plugin_protocol::executor::SnapshotRef;
use uuid::Uuid;

/// A writer whose text can be read afterwards.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn ts() -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000, 0).unwrap()
}

pub fn run_id() -> Uuid {
    Uuid::from_u128(0x1a2b_3c4d_5e6f_4a1b_8c2d_3e4f_5a6b_7c8d)
}

pub fn id(n: usize) -> Uuid {
    Uuid::from_u128(0xabc0_0000_0000_4000_8000_0000_0000_0000 + n as u128)
}

pub fn start(step_count: usize, header: RunHeader) -> BuildEvent {
    BuildEvent::BuildStart {
        run_id: run_id(),
        plan: PlanSummary {
            step_count,
            chain_count: 2,
            default_runner: "local".into(),
        },
        started_at: ts(),
        schema_version: Some(1),
        header: Some(header),
    }
}

pub fn queued(n: usize, key: &str, display_name: &str, command: &str) -> BuildEvent {
    BuildEvent::StepQueued {
        step_id: id(n),
        key: key.into(),
        chain_idx: 0,
        parent_key: None,
        display_name: display_name.into(),
        command: Some(command.into()),
    }
}

pub fn started(n: usize, cache_miss: Option<&str>) -> BuildEvent {
    BuildEvent::StepStart {
        step_id: id(n),
        runner: "local".into(),
        image: (n == 1).then(|| "host".into()),
        cache_miss: cache_miss.map(Into::into),
        attempt: None,
        previous_exit_code: None,
    }
}

/// The step's second attempt begins.
pub fn retried(n: usize, exit_code: i32) -> BuildEvent {
    BuildEvent::StepStart {
        step_id: id(n),
        runner: "local".into(),
        image: None,
        cache_miss: None,
        attempt: Some(2),
        previous_exit_code: Some(exit_code),
    }
}

pub fn cached(n: usize, artifacts: Vec<Artifact>) -> BuildEvent {
    BuildEvent::StepCacheHit {
        step_id: id(n),
        key: "c0ffee".into(),
        tag: "snap-1".into(),
        artifacts,
        more_artifacts: None,
        artifact_patterns: vec![],
    }
}

pub fn skipped(n: usize, reason: &str) -> BuildEvent {
    BuildEvent::skipped(id(n), reason.into())
}

pub fn log(n: usize, stream: StdStream, line: &str) -> BuildEvent {
    piece(n, stream, line, false)
}

pub fn piece(n: usize, stream: StdStream, line: &str, partial: bool) -> BuildEvent {
    BuildEvent::StepLog {
        step_id: id(n),
        stream,
        line: line.into(),
        ts: ts(),
        partial,
        service: None,
        attempt: None,
    }
}

pub fn service(n: usize, service: &str, line: &str, partial: bool) -> BuildEvent {
    BuildEvent::StepLog {
        step_id: id(n),
        service: Some(service.into()),
        attempt: None,
        stream: StdStream::Stderr,
        line: line.into(),
        ts: ts(),
        partial,
    }
}

pub fn artifact(path: &str, bytes: u64, tests: Option<TestSummary>) -> Artifact {
    Artifact {
        path: path.into(),
        bytes,
        digest: "c0ffee".into(),
        tests,
    }
}

/// A report of ten tests, two of which were skipped.
pub fn tests(failures: &[&str]) -> Option<TestSummary> {
    Some(TestSummary {
        total: 10,
        failed: failures.len() as u64,
        skipped: 2,
        failures: failures.iter().map(|name| (*name).to_owned()).collect(),
    })
}

pub fn image(name: &str, digest: &str) -> PinnedImage {
    PinnedImage {
        name: name.into(),
        digest: digest.into(),
    }
}

pub fn ended(n: usize, exit_code: i32, status: StepEndStatus) -> BuildEvent {
    ended_with(n, exit_code, status, vec![])
}

pub fn ended_with(n: usize, exit_code: i32, status: StepEndStatus, artifacts: Vec<Artifact>) -> BuildEvent {
    BuildEvent::StepEnd {
        step_id: id(n),
        exit_code,
        duration_ms: 1234,
        snapshot: (status != StepEndStatus::Canceled).then(|| SnapshotRef("left".into())),
        status: Some(status),
        message: None,
        artifacts,
        more_artifacts: None,
        artifact_patterns: vec![],
    }
}

pub fn failed_build() -> Vec<BuildEvent> {
    use StdStream::{Stderr, Stdout};
    let header = RunHeader {
        pipeline: Some("ci".into()),
        backend: Some("local-sandbox".into()),
        default_image: Some("host".into()),
        images: vec![
            image("host", "host:0123456789abcdef"),
            image("postgres:17", "sha256:c0ffee0123456789c0ffee"),
            image("./rootfs", "dir:1"),
        ],
        parallelism: Some(4),
        source_files: Some(1204),
        source_changed: Some(3),
        source_id: None,
        prepare_ms: Some(1_250),
        notices: vec!["memory limits are not enforced: this user may not write to its cgroup".into()],
    };
    let mut events = vec![
        start(8, header),
        BuildEvent::BuildAccepted {
            build: BuildRef {
                run_id: run_id(),
                number: None,
                org: None,
                pipeline: "ci".into(),
            },
            watch_url: Some("https://ci.example/1".into()),
        },
        queued(0, "deps", "deps", "cargo fetch"),
        queued(1, "build", "Build it", "cargo build\ncargo build --release\n"),
        queued(2, "unit tests", "Unit tests", "set -e\ncargo test\n"),
        queued(3, "lint", "lint", "cargo clippy"),
        queued(4, "deploy", "deploy", "./deploy"),
        queued(5, "slow", "slow", "sleep 1000"),
        queued(6, "other", "other", "true"),
        queued(7, "flaky", "flaky", "./flaky"),
        cached(0, vec![artifact("deps.txt", 12, None)]),
        started(1, Some("src/main.rs has changed")),
        log(1, Stdout, "Compiling hm"),
        log(1, Stderr, "\x1b[1;33mwarning\x1b[0m: unused\x1b[2J"),
        ended_with(
            1,
            0,
            StepEndStatus::Passed,
            vec![artifact("out/hm", 3 << 20, None)],
        ),
        started(2, None),
        started(3, None),
        started(5, None),
        started(6, None),
        started(7, None),
        retried(7, 9),
        ended(7, 0, StepEndStatus::Passed),
        piece(2, Stdout, "a long ", true),
        piece(2, Stdout, "line", false),
        service(2, "db", "\x1b[31mdatabase\x1b[0m \x1b[2Jis ", true),
        piece(2, Stdout, "test one ... ", true),
        log(3, Stderr, "clippy says no"),
        service(3, "lint.server", "no licence", false),
        service(2, "db", "starting", false),
        piece(2, Stdout, "ok", false),
        log(3, Stdout, "10%\r20%\r30%"),
        ended(3, 1, StepEndStatus::SoftFailed),
    ];
    events.extend((1..=60).map(|n| log(2, Stdout, &format!("test {n} ... FAILED"))));
    events.extend((1..=30).map(|n| service(2, "db", &format!("statement {n}"), false)));
    events.extend([
        service(2, "redis", "bye", false),
        BuildEvent::StepEnd {
            step_id: id(2),
            exit_code: 101,
            duration_ms: 63_200,
            snapshot: Some(SnapshotRef("snap-2".into())),
            status: Some(StepEndStatus::Failed),
            message: Some("killed by its memory limit of 2 GiB".into()),
            artifacts: vec![
                artifact(
                    "report/unit.xml",
                    12_345,
                    tests(&["math adds", "math \x1b[2Jdivides"]),
                ),
                artifact("report/doc.xml", 345, tests(&[])),
            ],
            more_artifacts: None,
            artifact_patterns: vec![],
        },
        BuildEvent::ChainFailed {
            chain_idx: 0,
            failed_step_id: id(2),
            failed_step_key: "unit tests".into(),
            exit_code: 101,
            message: "unit tests failed".into(),
            ts: ts(),
        },
        skipped(4, "unit tests failed"),
        ended(5, 124, StepEndStatus::TimedOut),
        ended(6, 130, StepEndStatus::Canceled),
        BuildEvent::BuildEnd {
            exit_code: 1,
            duration_ms: 65_000,
        },
    ]);
    events
}
