//! Random plans with random failures, timeouts and cancellations keep the rules of the event order.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use hm_exec::testing::{PlanWriter, Played, StepWriter, check_order, play};
use hm_exec::{BuildStatus, Plan, RunOptions, StepStatus};
use hm_plugin_protocol::events::BuildEvent;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::support::Bench;

#[derive(Debug, Clone)]
struct RandomStep {
    cmd: &'static str,
    parent: Option<prop::sample::Index>,
    after: Vec<prop::sample::Index>,
    soft: bool,
    cached: bool,
    retries: u32,
    timeout: Option<u32>,
}

#[derive(Debug, Clone)]
struct Case {
    steps: Vec<RandomStep>,
    keep_going: bool,
    slots: usize,
    cancel_at: Option<usize>,
    timeout: Option<u64>,
    runs: usize,
}

fn step() -> impl Strategy<Value = RandomStep> {
    let cmd = prop_oneof![
        6 => Just("true"),
        4 => Just("echo hello; echo oops >&2; sleep 1; printf tail"),
        2 => Just("sleep 7"),
        2 => Just("echo x; exit 3"),
        1 => Just("hm-flaky shared 3"),
        1 => Just("kill -9 $$"),
        1 => Just("hm-oom"),
    ];
    (
        cmd,
        prop::option::weighted(0.6, any::<prop::sample::Index>()),
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.4),
        prop_oneof![4 => Just(0u32), 1 => 1..3u32],
        prop::option::weighted(0.2, 1..9u32),
    )
        .prop_map(
            |(cmd, parent, after, soft, cached, retries, timeout)| RandomStep {
                cmd,
                parent,
                after,
                soft,
                cached,
                retries,
                timeout,
            },
        )
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(step(), 1..14),
        any::<bool>(),
        1..5usize,
        prop::option::weighted(0.3, 0..60usize),
        prop::option::weighted(0.2, 1..20u64),
        1..3usize,
    )
        .prop_map(|(steps, keep_going, slots, cancel_at, timeout, runs)| Case {
            steps,
            keep_going,
            slots,
            cancel_at,
            timeout,
            runs,
        })
}

impl Case {
    fn plan(&self) -> Plan {
        let steps = self.steps.iter().enumerate().map(|(place, random)| {
            let mut step = StepWriter::new(format!("s{place}"), random.cmd).with("soft_fail", random.soft);
            if place > 0 {
                if let Some(parent) = &random.parent {
                    step = step.builds_in(format!("s{}", parent.index(place)));
                }
                for other in &random.after {
                    step = step.after(format!("s{}", other.index(place)));
                }
            }
            if random.cached {
                step = step.cached("auto");
            }
            if let Some(seconds) = random.timeout {
                step = step.with("timeout_seconds", seconds);
            }
            step.with("retries", random.retries)
        });
        PlanWriter::of(steps).plan()
    }

    fn options(&self) -> RunOptions {
        RunOptions {
            keep_going: self.keep_going,
            parallelism: NonZeroUsize::new(self.slots),
            timeout: self.timeout.map(Duration::from_secs),
            ..RunOptions::default()
        }
    }
}

async fn run(case: &Case, sources: &Path) -> Result<(), TestCaseError> {
    let bench = Bench::over(sources);
    let plan = case.plan();
    for _ in 0..case.runs {
        let mut seen = 0;
        let request = bench.request(plan.clone(), case.options());
        let played = play(&bench.backend, request, |_, control| {
            if case.cancel_at == Some(seen) {
                control.cancel();
            }
            seen += 1;
        });
        let played = played
            .await
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        check(case, &plan, &played)?;
        let counters = bench.vm.counters();
        prop_assert!(counters.most_running <= case.slots as u64);
        prop_assert_eq!((counters.live, counters.running), (0, 0), "nothing is left");
    }
    Ok(())
}

fn check(case: &Case, plan: &Plan, played: &Played) -> Result<(), TestCaseError> {
    check_order(&played.events, &plan.graph).map_err(TestCaseError::fail)?;
    let outcome = played
        .outcome
        .as_ref()
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    let Some(BuildEvent::BuildEnd { exit_code, .. }) = played.events.last() else {
        return Err(TestCaseError::fail("no build_end"));
    };
    prop_assert_eq!(*exit_code, outcome.status.exit_code());
    let told: BTreeMap<&str, StepStatus> = played.steps();
    prop_assert_eq!(told.len(), case.steps.len());
    let any = |wanted: StepStatus| told.values().any(|status| *status == wanted);
    match outcome.status {
        BuildStatus::Passed => {
            let fine = [StepStatus::Passed, StepStatus::CacheHit, StepStatus::Skipped];
            prop_assert!(told.values().all(|status| fine.contains(status)), "{told:?}");
        }
        BuildStatus::Failed => prop_assert!(any(StepStatus::Failed) || any(StepStatus::TimedOut), "{told:?}"),
        BuildStatus::Canceled => prop_assert!(case.cancel_at.is_some()),
        BuildStatus::TimedOut => prop_assert!(case.timeout.is_some()),
        BuildStatus::Submitted => prop_assert!(false, "it was watched"),
    }
    for (index, step) in plan.graph.steps() {
        let status = told[step.key.as_str()];
        if matches!(
            status,
            StepStatus::Failed | StepStatus::TimedOut | StepStatus::Canceled
        ) {
            for later in plan.graph.descendants(index) {
                let later = told[plan.graph.step(later).key.as_str()];
                prop_assert!(
                    matches!(later, StepStatus::Skipped | StepStatus::Canceled),
                    "{told:?}"
                );
            }
        }
        let ended = played.end(step.key.as_str());
        prop_assert_eq!(
            ended.is_some(),
            played.events.iter().any(|event| matches!(
                event, BuildEvent::StepStart { step_id, .. } if Some(*step_id) == played.id(step.key.as_str())
            ))
        );
    }
    Ok(())
}

#[test]
fn the_order_rules_hold() {
    let sources = tempfile::tempdir().expect("a temporary directory");
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 1000,
        ..ProptestConfig::default()
    });
    let held = runner.run(&case(), |case| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()?;
        runtime.block_on(run(&case, sources.path()))
    });
    if let Err(broken) = held {
        panic!("{broken}");
    }
}
