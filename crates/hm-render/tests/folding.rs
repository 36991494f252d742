//! The state is a fold that no order of events can break.

#[expect(dead_code, reason = "each test file uses a part of it")]
mod record;

use hm_plugin_protocol::events::{BuildEvent, StdStream, StepEndStatus};
use hm_render::{BuildState, Phase, Verdict};
use proptest::prelude::*;

fn applied(events: &[BuildEvent]) -> BuildState {
    let mut state = BuildState::default();
    events.iter().for_each(|event| state.apply(event));
    state
}

#[test]
fn a_whole_build() {
    let state = applied(&record::failed_build());
    let counts = state.counts();
    assert_eq!((counts.known(), counts.over(), counts.ran()), (8, 8, 5));
    assert_eq!(
        (counts.passed, counts.failed, counts.soft_failed, counts.timed_out),
        (2, 1, 1, 1)
    );
    assert_eq!((counts.cached, counts.canceled, counts.skipped), (1, 1, 1));
    assert_eq!(
        (state.verdict(), state.duration_ms()),
        (Some(Verdict::Failed), Some(65_000))
    );
    assert_eq!(
        state.failed().map(|step| step.key.as_str()).collect::<Vec<_>>(),
        ["unit tests", "slow"]
    );
    assert_eq!(state.running().len(), 0);
    let tests = state.step(record::id(2)).unwrap();
    assert_eq!((tests.tail.lines().len(), tests.tail.seen()), (50, 62));
    let passed = state.step(record::id(1)).unwrap();
    assert_eq!(
        (passed.tail.lines().len(), passed.tail.seen()),
        (0, 2),
        "output of a passed step is forgotten"
    );
    assert_eq!(passed.cache_miss.as_deref(), Some("src/main.rs has changed"));
}

#[test]
fn exit_codes_speak_where_there_is_no_status() {
    let end = |exit_code| BuildEvent::StepEnd {
        step_id: record::id(1),
        exit_code,
        duration_ms: 1,
        snapshot: None,
        status: None,
        message: None,
        artifacts: vec![],
        more_artifacts: None,
        artifact_patterns: vec![],
    };
    for (exit_code, phase) in [
        (0, Phase::Passed),
        (1, Phase::Failed),
        (137, Phase::Failed),
        (124, Phase::TimedOut),
        (130, Phase::Canceled),
    ] {
        assert_eq!(applied(&[end(exit_code)]).steps()[0].phase, phase);
    }
    for (exit_code, verdict) in [
        (0, Verdict::Passed),
        (1, Verdict::Failed),
        (2, Verdict::Failed),
        (124, Verdict::TimedOut),
        (130, Verdict::Canceled),
    ] {
        assert_eq!(
            applied(&[BuildEvent::BuildEnd {
                exit_code,
                duration_ms: 1
            }])
            .verdict(),
            Some(verdict)
        );
    }
}

#[test]
fn a_chain_that_failed_before_its_step_began_counts_as_a_failure() {
    let failed = BuildEvent::ChainFailed {
        chain_idx: 0,
        failed_step_id: record::id(1),
        failed_step_key: "build".into(),
        exit_code: 1,
        message: "no such image".into(),
        ts: record::ts(),
    };
    let state = applied(&[record::queued(1, "build", "build", "make"), failed]);
    let step = state.failed().next().unwrap();
    assert_eq!(
        (step.key.as_str(), step.message.as_deref()),
        ("build", Some("no such image"))
    );
}

#[test]
fn ten_thousand_failures_fit_in_memory() {
    let mut state = BuildState::default();
    for n in 0..10_000 {
        state.apply(&record::started(n, None));
        for _ in 0..60 {
            state.apply(&record::log(n, StdStream::Stdout, "x"));
        }
        state.apply(&record::ended(n, 1, StepEndStatus::Failed));
    }
    let lines: usize = state.steps().iter().map(|step| step.tail.lines().len()).sum();
    assert_eq!(lines, 100 * 50 + 9_900 * 10);
}

fn any_event() -> impl Strategy<Value = BuildEvent> {
    (0_usize..4, 0..11, any::<i8>()).prop_map(|(n, kind, code)| match kind {
        0 => record::queued(n, "k", "k", "c"),
        1 => record::started(n, None),
        2 => record::piece(n, StdStream::Stdout, "x", code > 0),
        3 => record::ended(n, code.into(), StepEndStatus::Failed),
        4 => record::ended(n, 0, StepEndStatus::Passed),
        5 => record::cached(n, vec![record::artifact("a.xml", 1, record::tests(&["t"]))]),
        6 => record::skipped(n, "r"),
        7 => record::service(n, if code > 50 { "db" } else { "redis" }, "x", code % 2 == 0),
        8 => {
            let tests = (code > 0).then(|| record::tests(&["t"])).flatten();
            record::ended_with(
                n,
                1,
                StepEndStatus::Failed,
                vec![record::artifact("a.xml", 1, tests)],
            )
        }
        9 => record::retried(n, code.into()),
        _ => BuildEvent::ChainFailed {
            chain_idx: 0,
            failed_step_id: record::id(n),
            failed_step_key: "k".into(),
            exit_code: code.into(),
            message: String::new(),
            ts: record::ts(),
        },
    })
}

proptest! {
    #[test]
    fn counts_and_lists_agree_with_the_steps(events in prop::collection::vec(any_event(), 0..60)) {
        let state = applied(&events);
        let of = |phase| state.steps().iter().filter(|step| step.phase == phase).count();
        let counts = state.counts();
        prop_assert_eq!(counts.known(), state.steps().len());
        prop_assert_eq!(counts.running, of(Phase::Running));
        prop_assert_eq!(state.running().len(), of(Phase::Running));
        prop_assert_eq!(counts.failed, of(Phase::Failed));
        prop_assert_eq!(state.failed().len(), of(Phase::Failed));
        prop_assert_eq!(counts.queued, of(Phase::Queued));
        prop_assert_eq!(counts.passed, of(Phase::Passed));
        prop_assert!(state.failed().all(|step| step.phase == Phase::Failed));
        let listed: usize = state.steps().iter().map(|step| step.artifacts.listed.len()).sum();
        let artifacts: u64 = state.steps().iter().map(|step| step.artifacts.count).sum();
        prop_assert!(listed <= 10 && listed as u64 <= artifacts);
        let total: u64 = state.steps().iter().filter_map(|step| step.tests.as_ref()).map(|tests| tests.total).sum();
        prop_assert_eq!(state.tests().map_or(0, |tests| tests.total), total);
    }
}
