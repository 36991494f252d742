//! One stream of events out of several attempts at a build.
//!
//! An agent that is lost takes its attempt along, and the server has the build run again from its start. Whoever
//! watches has seen part of the first attempt: what has ended stays as it was told, what was under way goes on as a
//! retried step, and the rest comes as if nothing had happened. Steps are known by the watcher's own ids: each
//! attempt's are translated.

use std::collections::HashMap;

use chrono::Utc;
use hm_plugin_protocol::events::{
    Artifact, ArtifactPattern, BuildEvent, CANCELED, MoreArtifacts, StdStream, StepEndStatus,
};
use uuid::Uuid;

/// How far a step was told. Starts and ends are those of one attempt: what another one says is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Queued,
    Started(i64),
    Ended(i64),
}

#[derive(Debug)]
struct Step {
    id: Uuid,
    key: String,
    told: Told,
    /// The attempt that was reported last, over all attempts at the build, counted from 1.
    attempt: u32,
}

/// The exit code of a step whose agent was lost, as a killed process has it.
const LOST: i32 = 137;

/// What was told so far.
#[derive(Debug)]
pub(super) struct Attempts {
    current: i64,
    /// In the plan's order, queued before the first attempt.
    steps: Vec<Step>,
    /// The current attempt's ids.
    ids: HashMap<Uuid, usize>,
    cut_chains: Vec<usize>,
    /// What could not be said yet, for no step ran.
    unsaid: Vec<String>,
}

impl Attempts {
    /// Of a plan's steps: their ids and keys.
    pub(super) fn new(steps: impl IntoIterator<Item = (Uuid, String)>) -> Self {
        let step = |(id, key)| Step {
            id,
            key,
            told: Told::Queued,
            attempt: 1,
        };
        Self {
            current: 0,
            steps: steps.into_iter().map(step).collect(),
            ids: HashMap::new(),
            cut_chains: Vec::new(),
            unsaid: Vec::new(),
        }
    }

    /// What to tell when the server notes something about the build.
    pub(super) fn note(&mut self, note: &str) -> Vec<BuildEvent> {
        let running = self
            .steps
            .iter()
            .filter(|step| matches!(step.told, Told::Started(_)));
        let said: Vec<_> = running.map(|step| step.line(note)).collect();
        if said.is_empty() {
            self.unsaid.push(note.to_owned());
        }
        said
    }

    /// What to tell when an event of an attempt arrives. `build_start`, `build_accepted` and `build_end` are the
    /// caller's.
    pub(super) fn event(&mut self, attempt: i64, mut event: BuildEvent) -> Vec<BuildEvent> {
        if attempt < self.current {
            return Vec::new();
        }
        if attempt > self.current {
            self.current = attempt;
            self.ids.clear();
        }
        if let BuildEvent::StepQueued { step_id, key, .. } = &event {
            let place = self.steps.iter().position(|step| step.key == *key);
            self.ids.extend(place.map(|place| (*step_id, place)));
            return Vec::new();
        }
        let Some(place) = event.step_id_mut().and_then(|id| {
            let place = self.ids.get(id).copied()?;
            *id = self.steps[place].id;
            Some(place)
        }) else {
            return Vec::new();
        };
        self.step_event(place, attempt, event)
    }

    fn step_event(&mut self, place: usize, attempt: i64, mut event: BuildEvent) -> Vec<BuildEvent> {
        let step = &mut self.steps[place];
        match (&mut event, step.told) {
            (BuildEvent::StepStart { attempt: of, .. }, Told::Queued) => {
                // The first start that is reported is the step's first, whatever was lost before.
                *of = None;
                step.told = Told::Started(attempt);
                let step = &self.steps[place];
                let mut out = vec![event];
                out.extend(self.unsaid.drain(..).map(|note| step.line(&note)));
                out
            }
            (
                BuildEvent::StepStart {
                    attempt: of,
                    previous_exit_code,
                    ..
                },
                Told::Started(before),
            ) if before < attempt || of.is_some() => {
                let mut out = Vec::new();
                if before < attempt {
                    *previous_exit_code = Some(LOST);
                    out.extend(self.unsaid.drain(..).map(|note| step.line(&note)));
                }
                step.told = Told::Started(attempt);
                step.attempt += 1;
                *of = Some(step.attempt);
                out.push(event);
                out
            }
            (BuildEvent::StepCacheHit { .. }, Told::Queued) => {
                step.told = Told::Ended(attempt);
                vec![event]
            }
            // It was under way when its agent was lost, and another attempt need not run it: the end is what that makes
            // of it.
            (
                BuildEvent::StepCacheHit {
                    artifacts,
                    more_artifacts,
                    artifact_patterns,
                    ..
                },
                Told::Started(_),
            ) => {
                let patterns = std::mem::take(artifact_patterns);
                let kept = (std::mem::take(artifacts), more_artifacts.take(), patterns);
                vec![step.end(attempt, StepEndStatus::Passed, kept)]
            }
            (BuildEvent::StepEnd { status, .. }, told) if *status == Some(StepEndStatus::Skipped) => {
                match told {
                    Told::Queued => {
                        step.told = Told::Ended(attempt);
                        vec![event]
                    }
                    Told::Started(_) => vec![step.end(attempt, StepEndStatus::Canceled, <_>::default())],
                    Told::Ended(_) => Vec::new(),
                }
            }
            (BuildEvent::StepEnd { .. }, Told::Started(of)) if of == attempt => {
                step.told = Told::Ended(attempt);
                vec![event]
            }
            (
                BuildEvent::StepLog {
                    service, attempt: by, ..
                },
                Told::Started(of),
            ) if of == attempt => {
                if service.is_none() {
                    *by = step.attempt();
                }
                vec![event]
            }
            (BuildEvent::ChainFailed { chain_idx, .. }, Told::Ended(of))
                if of == attempt && !self.cut_chains.contains(chain_idx) =>
            {
                self.cut_chains.push(*chain_idx);
                vec![event]
            }
            _ => Vec::new(),
        }
    }

    /// The ends of everything that will not be heard of any more.
    pub(super) fn close(&mut self, reason: &str) -> Vec<BuildEvent> {
        let mut out = Vec::new();
        // What the server said when no step could say it tells more.
        let said = self.unsaid.pop();
        let reason = said.as_deref().unwrap_or(reason);
        for step in &mut self.steps {
            match step.told {
                Told::Started(_) => out.push(step.end(self.current, StepEndStatus::Canceled, <_>::default())),
                Told::Queued => out.push(BuildEvent::skipped(step.id, reason.to_owned())),
                Told::Ended(_) => {}
            }
            step.told = Told::Ended(self.current);
        }
        out
    }
}

/// The artifacts of a step as events list them.
type Listed = (Vec<Artifact>, Option<MoreArtifacts>, Vec<ArtifactPattern>);

impl Step {
    /// The attempt that runs, as events carry it.
    fn attempt(&self) -> Option<u32> {
        (self.attempt > 1).then_some(self.attempt)
    }

    fn line(&self, note: &str) -> BuildEvent {
        BuildEvent::StepLog {
            step_id: self.id,
            stream: StdStream::Stderr,
            line: format!("hm: {note}"),
            ts: Utc::now(),
            partial: false,
            service: None,
            attempt: self.attempt(),
        }
    }

    /// Ends the step by what became of it without its agent.
    fn end(
        &mut self,
        attempt: i64,
        status: StepEndStatus,
        (artifacts, more_artifacts, artifact_patterns): Listed,
    ) -> BuildEvent {
        self.told = Told::Ended(attempt);
        BuildEvent::StepEnd {
            step_id: self.id,
            exit_code: if status == StepEndStatus::Passed {
                0
            } else {
                CANCELED
            },
            duration_ms: 0,
            snapshot: None,
            status: Some(status),
            message: Some("its agent was lost while it ran".into()),
            artifacts,
            more_artifacts,
            artifact_patterns,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::Arc;

    use hm_vm::testing::MemoryBackend;

    use super::*;
    use crate::testing::{PlanWriter, StepWriter, check_order, play, request};
    use crate::{LocalBackend, Plan, RunOptions, announce};

    fn plan() -> Plan {
        plan_with(StepWriter::new("last", "echo done").after("test").after("lint"))
    }

    fn plan_with(last: StepWriter) -> Plan {
        PlanWriter::of([
            StepWriter::new("build", "echo built > out"),
            StepWriter::new("test", "seq 3; cat out").builds_in("build"),
            StepWriter::new("lint", "echo lint >&2").builds_in("build"),
            StepWriter::new("flaky", "hm-flaky once 1").with("retries", 1),
            last,
        ])
        .plan()
    }

    /// The events of one attempt on an agent of its own.
    async fn attempt(fails: bool) -> Vec<BuildEvent> {
        let directory = tempfile::tempdir().expect("a directory");
        let tree = directory.path().join("tree");
        std::fs::create_dir(&tree).expect("a directory");
        let agent = LocalBackend::new(
            NonZeroUsize::MIN,
            Arc::new(MemoryBackend::new()),
            directory.path().join("data"),
        );
        let mut plan = plan();
        if fails {
            plan = Plan::parse(plan.ir_json.replace("echo lint >&2", "exit 3     ")).expect("a plan");
        }
        let played = play(&agent, request(plan, &tree, RunOptions::default()), |_, _| {});
        played.await.expect("it starts").events
    }

    fn watched(records: impl IntoIterator<Item = (i64, BuildEvent)>) -> Vec<BuildEvent> {
        let request = request(plan(), std::path::Path::new("/"), RunOptions::default());
        let queued: Vec<_> = announce::queued(&request).collect();
        let steps = queued.iter().filter_map(|event| match event {
            BuildEvent::StepQueued { step_id, key, .. } => Some((*step_id, key.clone())),
            _ => None,
        });
        let mut attempts = Attempts::new(steps);
        let mut out = vec![BuildEvent::BuildStart {
            run_id: request.run_id,
            plan: request.plan.summary.clone(),
            started_at: Utc::now(),
            schema_version: None,
            header: None,
        }];
        out.extend(queued);
        let mut before = 0;
        for (attempt, event) in records {
            if attempt > before && before > 0 {
                out.extend(attempts.note("the agent was lost"));
            }
            before = attempt;
            out.extend(attempts.event(attempt, event));
        }
        out.extend(attempts.close("the build ended"));
        out.push(BuildEvent::BuildEnd {
            exit_code: 0,
            duration_ms: 0,
        });
        out
    }

    fn texts(events: &[BuildEvent]) -> Vec<&str> {
        let lines = events.iter().filter_map(|event| match event {
            BuildEvent::StepLog { line, .. } => Some(line.as_str()),
            _ => None,
        });
        lines.collect()
    }

    #[tokio::test]
    async fn one_attempt_is_told_as_it_was() {
        let events = attempt(false).await;
        let told = watched(events.iter().cloned().map(|event| (1, event)));
        check_order(&told, &plan().graph).expect("the order holds");
        assert_eq!(texts(&told), texts(&events));
    }

    #[tokio::test]
    async fn wherever_an_agent_is_lost_the_order_holds_and_every_step_ends_once() {
        let graph = plan().graph;
        // What was told is told: `lint` stays failed where the first attempt saw that, and `last` goes on in the second.
        let apart = plan_with(StepWriter::new("last", "echo done").after("test")).graph;
        for (first_fails, second_fails) in [(false, false), (false, true), (true, false), (true, true)] {
            let (first, second) = (attempt(first_fails).await, attempt(second_fails).await);
            for cut in 0..=first.len() {
                let lost = first[..cut].iter().cloned().map(|event| (1, event));
                let again = second.iter().cloned().map(|event| (2, event));
                let told = watched(lost.chain(again));
                let graph = if first_fails && !second_fails {
                    &apart
                } else {
                    &graph
                };
                if let Err(broken) = check_order(&told, graph) {
                    panic!("{first_fails} {second_fails}, cut at {cut}: {broken}");
                }
                let ends = told
                    .iter()
                    .filter(|event| {
                        matches!(
                            event,
                            BuildEvent::StepEnd { .. } | BuildEvent::StepCacheHit { .. }
                        )
                    })
                    .count();
                assert_eq!(ends, graph.len(), "cut at {cut}");
            }
        }
    }

    #[tokio::test]
    async fn a_late_event_of_a_lost_attempt_is_not_told() {
        let (first, second) = (attempt(false).await, attempt(false).await);
        let mut records: Vec<_> = second.into_iter().map(|event| (2, event)).collect();
        let expected = texts(&watched(records.clone())).join("\n");
        records.extend(first.into_iter().map(|event| (1, event)));
        assert_eq!(texts(&watched(records)).join("\n"), expected);
    }
}
