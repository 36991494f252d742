//! Checks a build's events against the order that every backend promises.

use std::collections::{HashMap, HashSet};

use hm_pipeline_ir::PipelineGraph;
use hm_plugin_protocol::events::{BuildEvent, SKIPPED, StepEndStatus};
use uuid::Uuid;

/// How far a step's events have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Queued,
    Started,
    Passed,
    Cached,
    /// It ended and its descendants must not run.
    Failed,
    Skipped,
}

/// Checks that a whole build's events keep the rules of their order: `build_start` first and once, `build_end`
/// last and once, every step queued in the plan's order before anything else of it, then exactly one of a cache
/// hit, a skip, or a start for each attempt, its output after it, and exactly one end; a step only after all that it waits for;
/// nothing after a failed ancestor.
///
/// # Errors
/// The first rule that is broken, in words.
pub fn check_order(events: &[BuildEvent], graph: &PipelineGraph) -> Result<(), String> {
    let mut check = Check {
        graph,
        keys: HashMap::new(),
        seen: HashMap::new(),
        attempts: HashMap::new(),
        cut: HashSet::new(),
    };
    let Some((BuildEvent::BuildStart { plan, .. }, rest)) = events.split_first() else {
        return Err(format!("the first event is {:?}", events.first()));
    };
    let Some((BuildEvent::BuildEnd { .. }, rest)) = rest.split_last() else {
        return Err(format!("the last event is {:?}", rest.last()));
    };
    if plan.step_count != graph.len() || plan.chain_count != graph.chain_count() {
        return Err(format!("build_start counts {plan:?}"));
    }
    for (place, event) in rest.iter().enumerate() {
        check
            .event(event)
            .map_err(|broken| format!("event {}: {broken}: {event:?}", place + 1))?;
    }
    for (_, step) in graph.steps() {
        match check.seen.get(step.key.as_str()) {
            None => return Err(format!("step `{}` was never queued", step.key)),
            Some(Seen::Queued | Seen::Started) => return Err(format!("step `{}` never ended", step.key)),
            Some(_) => {}
        }
    }
    Ok(())
}

struct Check<'a> {
    graph: &'a PipelineGraph,
    keys: HashMap<Uuid, &'a str>,
    seen: HashMap<&'a str, Seen>,
    /// The attempt that began last, of each step that has begun.
    attempts: HashMap<Uuid, u32>,
    cut: HashSet<usize>,
}

impl<'a> Check<'a> {
    fn event(&mut self, event: &BuildEvent) -> Result<(), String> {
        match event {
            BuildEvent::BuildStart { .. } => Err("a second build_start".into()),
            BuildEvent::BuildEnd { .. } => Err("build_end is not the last".into()),
            BuildEvent::StepQueued {
                step_id,
                key,
                chain_idx,
                parent_key,
                ..
            } => self.queued(*step_id, key, *chain_idx, parent_key.as_deref()),
            BuildEvent::StepStart {
                step_id,
                attempt: None,
                ..
            } => {
                self.go(*step_id, &[Seen::Queued], Seen::Started)?;
                self.attempts.insert(*step_id, 1);
                self.settled_before(*step_id)
            }
            BuildEvent::StepStart {
                step_id,
                attempt: Some(attempt),
                previous_exit_code,
                ..
            } => {
                self.go(*step_id, &[Seen::Started], Seen::Started)?;
                let before = self.attempts.insert(*step_id, *attempt);
                if before != attempt.checked_sub(1) || previous_exit_code.is_none_or(|code| code == 0) {
                    return Err(format!("this attempt comes after {before:?}"));
                }
                Ok(())
            }
            BuildEvent::StepLog {
                step_id,
                service,
                attempt,
                ..
            } => {
                self.go(*step_id, &[Seen::Started], Seen::Started)?;
                match service {
                    Some(service) => self.reaches(*step_id, service),
                    None if self.attempts.get(step_id) != Some(&attempt.unwrap_or(1)) => {
                        Err("a line of another attempt".into())
                    }
                    None => Ok(()),
                }
            }
            BuildEvent::StepCacheHit { step_id, .. } => {
                self.go(*step_id, &[Seen::Queued], Seen::Cached)?;
                self.settled_before(*step_id)
            }
            BuildEvent::StepEnd {
                step_id,
                exit_code,
                status: Some(StepEndStatus::Skipped),
                message,
                ..
            } => {
                if *exit_code != SKIPPED || message.is_none() {
                    return Err("a skip has its own exit code, and says why".into());
                }
                self.go(*step_id, &[Seen::Queued], Seen::Skipped)
            }
            BuildEvent::StepEnd {
                step_id,
                exit_code,
                status,
                ..
            } => {
                let status = StepEndStatus::of(*status, *exit_code);
                if status == StepEndStatus::Passed && *exit_code != 0 {
                    return Err("passed, but not with 0".into());
                }
                let passed = status.is_success();
                self.go(
                    *step_id,
                    &[Seen::Started],
                    if passed { Seen::Passed } else { Seen::Failed },
                )
            }
            BuildEvent::ChainFailed {
                chain_idx,
                failed_step_id,
                ..
            } => {
                self.go(*failed_step_id, &[Seen::Failed], Seen::Failed)?;
                if !self.cut.insert(*chain_idx) {
                    return Err("the chain was cut before".into());
                }
                Ok(())
            }
            BuildEvent::Unknown => Err("a kind that nobody sends".into()),
            _ => Ok(()),
        }
    }

    fn queued(&mut self, id: Uuid, key: &str, chain: usize, parent: Option<&str>) -> Result<(), String> {
        let due = self.graph.steps().nth(self.keys.len());
        let Some((index, step)) = due.filter(|(_, step)| step.key.as_str() == key) else {
            return Err("not queued in the plan's order".into());
        };
        let builds_in = self
            .graph
            .parent(index)
            .map(|parent| self.graph.step(parent).key.as_str());
        if self.graph.chain_of(index) != chain || builds_in != parent {
            return Err("it is in another chain, or builds in another step".into());
        }
        if self.seen.values().any(|seen| *seen != Seen::Queued) {
            return Err("queued after the first step had begun".into());
        }
        self.seen.insert(step.key.as_str(), Seen::Queued);
        match self.keys.insert(id, step.key.as_str()) {
            Some(_) => Err("two steps share an id".into()),
            None => Ok(()),
        }
    }

    fn go(&mut self, id: Uuid, from: &[Seen], to: Seen) -> Result<(), String> {
        let key = self.keys.get(&id).ok_or("a step that was never queued")?;
        let now = self
            .seen
            .get(key)
            .copied()
            .ok_or("a step that was never queued")?;
        if !from.contains(&now) {
            return Err(format!("step `{key}` is {now:?}"));
        }
        self.seen.insert(key, to);
        Ok(())
    }

    /// A service's output belongs to a step that reaches it.
    fn reaches(&self, id: Uuid, service: &str) -> Result<(), String> {
        let key = self.keys.get(&id).copied().unwrap_or_default();
        let index = self.graph.index_of(key).ok_or("not in the plan")?;
        let services = self.graph.services(index);
        if services.iter().any(|known| known.name == service) {
            return Ok(());
        }
        Err(format!("step `{key}` has no service `{service}`"))
    }

    /// A step goes on only when those that it waits for have passed, or take no part at all.
    fn settled_before(&self, id: Uuid) -> Result<(), String> {
        let key = self.keys.get(&id).copied().unwrap_or_default();
        let index = self.graph.index_of(key).ok_or("not in the plan")?;
        for before in self.graph.dependencies(index) {
            let before = self.graph.step(*before).key.as_str();
            let seen = self.seen.get(before).copied().ok_or("not queued")?;
            if !matches!(seen, Seen::Passed | Seen::Cached | Seen::Skipped) {
                return Err(format!("step `{key}` goes on although `{before}` is {seen:?}"));
            }
        }
        Ok(())
    }
}
