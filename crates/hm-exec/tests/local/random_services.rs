//! Random plans with services: each is started exactly as often as its scope says, each is stopped, and no pod and no
//! machine is left, wherever the build is canceled.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use hm_exec::testing::{PlanWriter, Played, StepWriter, check_order, play};
use hm_exec::{BuildStatus, Plan, RunOptions};
use hm_pipeline_ir::{ServiceScope, StepIndex};
use hm_plugin_protocol::events::{BuildEvent, StepEndStatus};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::Bench;

/// What a step that could not reach its services exits with.
const UNREACHED: i32 = 99;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Counts as usable at once.
    Plain,
    Checked,
    SlowlyUsable,
    /// Ends before it can be used.
    Dies,
    /// Ends in the middle of things.
    DiesLater,
}

#[derive(Debug, Clone)]
struct RandomService {
    kind: Kind,
    chain: bool,
}

#[derive(Debug, Clone)]
struct RandomStep {
    cmd: &'static str,
    builds_in: Option<prop::sample::Index>,
    services: Vec<RandomService>,
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

fn service() -> impl Strategy<Value = RandomService> {
    let kind = prop_oneof![
        6 => Just(Kind::Plain),
        6 => Just(Kind::Checked),
        3 => Just(Kind::SlowlyUsable),
        1 => Just(Kind::Dies),
        1 => Just(Kind::DiesLater),
    ];
    (kind, any::<bool>()).prop_map(|(kind, chain)| RandomService { kind, chain })
}

fn step() -> impl Strategy<Value = RandomStep> {
    let cmd = prop_oneof![
        6 => Just("true"),
        3 => Just("echo hello; sleep 3; printf tail"),
        2 => Just("exit 3"),
        1 => Just("hm-flaky shared 2"),
    ];
    (
        cmd,
        prop::option::weighted(0.8, any::<prop::sample::Index>()),
        prop_oneof![1 => prop::collection::vec(service(), 0..1), 2 => prop::collection::vec(service(), 1..4)],
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
        prop_oneof![3 => Just(0u32), 1 => 1..3u32],
        prop::option::weighted(0.15, 1..6u32),
    )
        .prop_map(
            |(cmd, builds_in, services, soft, cached, retries, timeout)| RandomStep {
                cmd,
                builds_in,
                services,
                soft,
                cached,
                retries,
                timeout,
            },
        )
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(step(), 1..8),
        any::<bool>(),
        1..4usize,
        prop::option::weighted(0.4, 0..80usize),
        prop::option::weighted(0.15, 1..12u64),
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

fn command(name: &str, kind: Kind) -> String {
    match kind {
        Kind::Plain | Kind::Checked => format!("hm-serve {name}"),
        Kind::SlowlyUsable => format!("sleep 2; hm-serve {name}"),
        Kind::Dies => format!("echo {name}; exit 9"),
        Kind::DiesLater => format!("hm-serve {name} 2"),
    }
}

impl RandomService {
    fn json(&self, name: &str) -> Value {
        let mut service = json!({
            "name": name, "cmd": command(name, self.kind), "scope": if self.chain { "chain" } else { "step" },
        });
        if !matches!(self.kind, Kind::Plain | Kind::DiesLater) {
            service["health"] =
                json!({"cmd": format!("hm-probe {name}"), "interval_seconds": 1, "timeout_seconds": 20});
        }
        service
    }
}

impl Case {
    fn kinds(&self) -> BTreeMap<String, Kind> {
        let mut kinds = BTreeMap::new();
        for (place, step) in self.steps.iter().enumerate() {
            for (position, service) in step.services.iter().enumerate() {
                kinds.insert(format!("s{place}-{position}"), service.kind);
            }
        }
        kinds
    }

    /// Written twice: a step's command asks for what the plan says that it reaches.
    fn plan(&self) -> Plan {
        let without = self.write(|_| Vec::new()).plan();
        let kinds = self.kinds();
        let reached = |place: usize| -> Vec<String> {
            let (index, _) = without.graph.steps().nth(place).expect("a step");
            let names = without
                .graph
                .services(index)
                .into_iter()
                .map(|service| service.name.clone());
            names
                .filter(|name| matches!(kinds[name], Kind::Plain | Kind::Checked | Kind::SlowlyUsable))
                .collect()
        };
        self.write(reached).plan()
    }

    fn write(&self, reached: impl Fn(usize) -> Vec<String>) -> PlanWriter {
        let steps = self.steps.iter().enumerate().map(|(place, random)| {
            let probes: String = reached(place)
                .iter()
                .map(|name| format!("hm-probe {name} {name} || exit {UNREACHED}; "))
                .collect();
            let services = random.services.iter().enumerate();
            let services: Vec<Value> = services
                .map(|(position, service)| service.json(&format!("s{place}-{position}")))
                .collect();
            let mut step = StepWriter::new(format!("s{place}"), format!("{probes}{}", random.cmd))
                .with("soft_fail", random.soft)
                .with("retries", random.retries)
                .with("services", services);
            if place > 0
                && let Some(parent) = &random.builds_in
            {
                step = step.builds_in(format!("s{}", parent.index(place)));
            }
            if random.cached {
                step = step.cached("auto");
            }
            if let Some(seconds) = random.timeout {
                step = step.with("timeout_seconds", seconds);
            }
            step
        });
        PlanWriter::of(steps)
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
        let (traced, opened) = (bench.vm.trace().len(), bench.vm.counters().pods_opened);
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
        let counters = bench.vm.counters();
        prop_assert_eq!(
            (counters.live, counters.running, counters.pods_open),
            (0, 0, 0),
            "nothing is left"
        );
        check_order(&played.events, &plan.graph).map_err(TestCaseError::fail)?;
        let ran = bench.vm.trace().split_off(traced);
        check(case, &plan, &played, &ran, counters.pods_opened - opened)?;
    }
    Ok(())
}

fn check(
    case: &Case,
    plan: &Plan,
    played: &Played,
    ran: &[String],
    opened: u64,
) -> Result<(), TestCaseError> {
    let outcome = played
        .outcome
        .as_ref()
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    let graph = &plan.graph;
    let attempts = |index: StepIndex| attempts(played, graph.step(index).key.as_str());
    let in_peace = !matches!(outcome.status, BuildStatus::Canceled | BuildStatus::TimedOut)
        && !graph.steps().any(|(_, step)| {
            let ended = played.end(step.key.as_str()).and_then(|end| end.1);
            matches!(ended, Some(StepEndStatus::Canceled | StepEndStatus::TimedOut))
        });
    let kinds = case.kinds();
    let mut pods = 0;
    for (index, step) in graph.steps() {
        let code = played.end(step.key.as_str()).map(|end| end.0);
        prop_assert_ne!(code, Some(UNREACHED), "`{}` did not reach its services", step.key);
        if graph.chain_services(index).is_empty() && !step.services.is_empty() {
            pods += attempts(index);
        }
        for service in &step.services {
            let cmd = command(&service.name, kinds[&service.name]);
            let times = ran.iter().filter(|ran| **ran == cmd).count();
            let (most, exactly) = match service.scope {
                ServiceScope::Step => (attempts(index), in_peace),
                ServiceScope::Chain => {
                    let users = graph.steps().filter(|(user, _)| {
                        let declared = graph.chain_services(*user);
                        declared.iter().any(|(_, other)| other.name == service.name)
                    });
                    let tries: Vec<usize> = users.map(|(user, _)| attempts(user)).collect();
                    // One that could not be used yet when an attempt ended starts again.
                    let again = kinds.values().any(|kind| *kind == Kind::Dies)
                        || graph.steps().any(|(_, step)| step.timeout.is_some());
                    let all: usize = tries.iter().sum();
                    (if again { all } else { all.min(1) }, in_peace && !again)
                }
            };
            prop_assert!(times <= most, "{} began {times} times, not {most}", service.name);
            prop_assert!(
                !exactly || times == most,
                "{} began {times} times, not {most}",
                service.name
            );
        }
    }
    for chain in 0..graph.chain_count() {
        let mut steps = graph.steps().filter(|(index, _)| graph.chain_of(*index) == chain);
        pods += usize::from(
            steps.any(|(index, _)| !graph.chain_services(index).is_empty() && attempts(index) > 0),
        );
    }
    let opened = usize::try_from(opened).unwrap_or(usize::MAX);
    prop_assert!(opened <= pods, "{opened} pods, not {pods}");
    prop_assert!(!in_peace || opened == pods, "{opened} pods, not {pods}");
    Ok(())
}

/// How many attempts a step had.
fn attempts(played: &Played, key: &str) -> usize {
    let id = played.id(key);
    let of_step = |event: &&BuildEvent| match event {
        BuildEvent::StepStart { step_id, .. } => Some(*step_id) == id,
        _ => false,
    };
    played.events.iter().filter(of_step).count()
}

#[test]
fn services_run_as_often_as_they_should_and_none_is_left() {
    let sources = tempfile::tempdir().expect("a temporary directory");
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 600,
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
