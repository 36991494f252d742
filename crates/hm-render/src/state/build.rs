use std::collections::HashMap;

use chrono::{DateTime, Utc};
use hm_plugin_protocol::events::{
    Artifact, BuildEndStatus, BuildEvent, BuildRef, MoreArtifacts, PlanSummary, RunHeader, StepEndStatus,
};
use uuid::Uuid;

use super::artifacts::{LISTED, Tests};
use super::counts::Counts;
use super::services;
use super::step::{Phase, Step};

/// How many failed steps keep the whole of their tail; the rest keep [`FEW_LINES`], so that ten thousand failures fit in memory.
const WHOLE_TAILS: usize = 100;
const FEW_LINES: usize = 10;

/// How many lines of each of its services a failed step keeps.
const SERVICE_LINES: usize = 20;

/// What a build has come to.
#[derive(Debug, Clone, Default)]
pub struct BuildState {
    run_id: Option<Uuid>,
    plan: Option<PlanSummary>,
    header: RunHeader,
    build: Option<BuildRef>,
    watch_url: Option<String>,
    started_at: Option<DateTime<Utc>>,
    steps: Vec<Step>,
    index: HashMap<Uuid, usize>,
    /// The step of the event before, which mostly is the step of the next one too.
    last: usize,
    running: Vec<usize>,
    failed: Vec<usize>,
    counts: Counts,
    /// How many artifacts are kept by name.
    listed: usize,
    end: Option<(i32, u64)>,
}

impl BuildState {
    /// Takes the next event in.
    pub fn apply(&mut self, event: &BuildEvent) {
        match event {
            BuildEvent::BuildStart {
                run_id,
                plan,
                started_at,
                header,
                ..
            } => {
                self.run_id = Some(*run_id);
                self.plan = Some(plan.clone());
                self.started_at = Some(*started_at);
                self.header = header.clone().unwrap_or_default();
            }
            BuildEvent::BuildAccepted { build, watch_url } => {
                self.build = Some(build.clone());
                self.watch_url.clone_from(watch_url);
            }
            BuildEvent::StepQueued {
                step_id,
                key,
                chain_idx,
                parent_key,
                display_name,
                command,
            } => {
                let at = self.at(*step_id);
                let step = &mut self.steps[at];
                step.key.clone_from(key);
                step.display_name.clone_from(display_name);
                step.chain_idx = Some(*chain_idx);
                step.parent_key.clone_from(parent_key);
                step.command.clone_from(command);
            }
            BuildEvent::StepStart {
                step_id,
                attempt: Some(attempt),
                ..
            } => {
                let at = self.enter(*step_id, Phase::Running);
                self.steps[at].attempt = *attempt;
            }
            BuildEvent::StepStart {
                step_id,
                image,
                cache_miss,
                attempt: None,
                ..
            } => {
                let at = self.enter(*step_id, Phase::Running);
                let step = &mut self.steps[at];
                step.image.clone_from(image);
                step.cache_miss.clone_from(cache_miss);
            }
            BuildEvent::StepLog {
                step_id,
                stream,
                line,
                partial,
                service,
                ..
            } => {
                let at = self.at(*step_id);
                let step = &mut self.steps[at];
                match service {
                    None => step.tail.push(*stream, line, *partial),
                    Some(service) => services::push(&mut step.services, service, *stream, line, *partial),
                }
            }
            BuildEvent::StepCacheHit {
                step_id,
                artifacts,
                more_artifacts,
                artifact_patterns,
                ..
            } => {
                let at = self.enter(*step_id, Phase::CacheHit);
                self.steps[at].artifacts.set_patterns(artifact_patterns);
                self.add_artifacts(at, artifacts, more_artifacts.as_ref());
            }
            BuildEvent::StepEnd {
                step_id,
                exit_code,
                duration_ms,
                snapshot,
                status,
                message,
                artifacts,
                more_artifacts,
                artifact_patterns,
            } => {
                let phase = phase_of(StepEndStatus::of(*status, *exit_code));
                let at = self.enter(*step_id, phase);
                self.steps[at].artifacts.set_patterns(artifact_patterns);
                self.add_artifacts(at, artifacts, more_artifacts.as_ref());
                let step = &mut self.steps[at];
                if phase != Phase::Skipped {
                    step.exit_code = Some(*exit_code);
                    step.duration_ms = Some(*duration_ms);
                }
                step.snapshot.clone_from(snapshot);
                step.message.clone_from(message);
                self.forget_output(at);
            }
            BuildEvent::ChainFailed {
                failed_step_id,
                failed_step_key,
                exit_code,
                message,
                ..
            } => {
                let at = self.at(*failed_step_id);
                if !self.steps[at].phase.is_over() {
                    self.enter(*failed_step_id, Phase::Failed);
                }
                let step = &mut self.steps[at];
                step.key.clone_from(failed_step_key);
                step.exit_code.get_or_insert(*exit_code);
                if step.message.is_none() && !message.is_empty() {
                    step.message = Some(message.clone());
                }
            }
            BuildEvent::BuildEnd {
                exit_code,
                duration_ms,
            } => self.end = Some((*exit_code, *duration_ms)),
            _ => {}
        }
    }

    /// Identifies the run.
    #[must_use]
    pub fn run_id(&self) -> Option<Uuid> {
        self.run_id
    }

    /// What the plan amounts to.
    #[must_use]
    pub fn plan(&self) -> Option<&PlanSummary> {
        self.plan.as_ref()
    }

    /// What the run told about itself.
    #[must_use]
    pub fn header(&self) -> &RunHeader {
        &self.header
    }

    /// The build's identity.
    #[must_use]
    pub fn build(&self) -> Option<&BuildRef> {
        self.build.as_ref()
    }

    /// Where the build can be watched.
    #[must_use]
    pub fn watch_url(&self) -> Option<&str> {
        self.watch_url.as_deref()
    }

    /// When the run started.
    #[must_use]
    pub fn started_at(&self) -> Option<DateTime<Utc>> {
        self.started_at
    }

    /// Every step, in the order in which it became known.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// A step.
    #[must_use]
    pub fn step(&self, step_id: Uuid) -> Option<&Step> {
        match self.steps.get(self.last) {
            Some(step) if step.step_id == step_id => Some(step),
            _ => self.index.get(&step_id).map(|at| &self.steps[*at]),
        }
    }

    /// The steps that run, in the order in which they started.
    pub fn running(&self) -> impl ExactSizeIterator<Item = &Step> {
        self.running.iter().map(|at| &self.steps[*at])
    }

    /// The steps that failed or timed out, in the order in which they did.
    pub fn failed(&self) -> impl ExactSizeIterator<Item = &Step> {
        self.failed.iter().map(|at| &self.steps[*at])
    }

    /// What the test reports of all steps say together, without names.
    #[must_use]
    pub fn tests(&self) -> Option<Tests> {
        let mut reports = self
            .steps
            .iter()
            .filter_map(|step| step.tests.as_ref())
            .peekable();
        reports.peek()?;
        let mut all = Tests::default();
        reports.for_each(|report| all.add_counts(report));
        Some(all)
    }

    /// How many steps there are of each kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How the build ended, once it has.
    #[must_use]
    pub fn verdict(&self) -> Option<BuildEndStatus> {
        self.end.map(|(exit_code, _)| BuildEndStatus::of(exit_code))
    }

    /// How long the build took, in milliseconds, once it has ended.
    #[must_use]
    pub fn duration_ms(&self) -> Option<u64> {
        self.end.map(|(_, duration_ms)| duration_ms)
    }

    /// Where the step is. One that no event has named before is made up: a broken stream is still worth reading.
    fn at(&mut self, step_id: Uuid) -> usize {
        if self
            .steps
            .get(self.last)
            .is_some_and(|step| step.step_id == step_id)
        {
            return self.last;
        }
        let steps = &mut self.steps;
        let counts = &mut self.counts;
        self.last = *self.index.entry(step_id).or_insert_with(|| {
            let key = crate::run_id::short_run_id(step_id);
            steps.push(Step::new(step_id, key.clone(), key));
            counts.queued += 1;
            steps.len() - 1
        });
        self.last
    }

    fn enter(&mut self, step_id: Uuid, phase: Phase) -> usize {
        let at = self.at(step_id);
        let before = std::mem::replace(&mut self.steps[at].phase, phase);
        *self.counts.of(before) -= 1;
        *self.counts.of(phase) += 1;
        if before == Phase::Running {
            self.running.retain(|running| *running != at);
        }
        if phase == Phase::Running {
            self.running.push(at);
        }
        if before.is_failure() && !phase.is_failure() {
            self.failed.retain(|failed| *failed != at);
        }
        if phase.is_failure() && !before.is_failure() {
            self.failed.push(at);
        }
        at
    }

    fn add_artifacts(&mut self, at: usize, artifacts: &[Artifact], more: Option<&MoreArtifacts>) {
        let step = &mut self.steps[at];
        let names = step.phase.is_failure() || step.phase == Phase::SoftFailed;
        for artifact in artifacts {
            let list = self.listed < LISTED;
            self.listed += usize::from(list);
            step.artifacts.add(&artifact.path, artifact.bytes, list);
            if let Some(report) = &artifact.tests {
                step.tests.get_or_insert_default().add(report, names);
            }
        }
        if let Some(more) = more {
            step.artifacts.add_more(more.count, more.bytes);
            if let Some(report) = &more.tests {
                step.tests.get_or_insert_default().add(report, false);
            }
        }
    }

    fn forget_output(&mut self, at: usize) {
        let step = &mut self.steps[at];
        let (lines, service_lines) = match step.phase {
            Phase::Failed | Phase::TimedOut if self.failed.len() <= WHOLE_TAILS => {
                (usize::MAX, SERVICE_LINES)
            }
            Phase::SoftFailed if self.counts.soft_failed <= WHOLE_TAILS => (FEW_LINES, FEW_LINES),
            Phase::Failed | Phase::TimedOut | Phase::SoftFailed => (FEW_LINES, 0),
            _ => (0, 0),
        };
        step.tail.keep(lines);
        if service_lines == 0 {
            step.services = Vec::new();
            if let Some(tests) = &mut step.tests {
                tests.failures = Vec::new();
            }
        }
        for output in &mut step.services {
            output.tail.keep(service_lines);
        }
    }
}

fn phase_of(status: StepEndStatus) -> Phase {
    match status {
        StepEndStatus::Passed => Phase::Passed,
        StepEndStatus::SoftFailed => Phase::SoftFailed,
        StepEndStatus::Canceled => Phase::Canceled,
        StepEndStatus::TimedOut => Phase::TimedOut,
        StepEndStatus::Skipped => Phase::Skipped,
        _ => Phase::Failed,
    }
}
