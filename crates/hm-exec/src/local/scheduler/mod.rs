//! The scheduler: one task that owns the state of a run. Steps run as tasks of their own and report back.

mod drive;
mod ends;
mod flow;
mod share;
mod start;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hm_pipeline_ir::StepIndex;
use hm_vm::{Cancel, VmError};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio_util::task::TaskTracker;

use super::decide::Decided;
use super::keeper::Keeper;
use super::run::Run;
use super::services::Chain;
use super::sink::Sink;
use super::state::{Cause, StepState};
use super::step::Finished;
use crate::BackendError;

type Report = (StepIndex, Result<Finished, VmError>);

/// The state of a run.
#[derive(Debug)]
pub(in crate::local) struct Scheduler {
    pub(in crate::local) run: Arc<Run>,
    pub(in crate::local) sink: Sink,
    pub(in crate::local) steps: Vec<StepState>,
    pub(in crate::local) cause: Option<Cause>,
    pub(in crate::local) error: Option<BackendError>,
    pub(in crate::local) any_failed: bool,
    keeper: Keeper,
    /// Those that wait for a slot: the one with the longest way behind it first, then the plan's order.
    ready: BinaryHeap<(u32, Reverse<StepIndex>)>,
    ranks: Vec<u32>,
    slots: usize,
    running: usize,
    /// A step had to run.
    pub(in crate::local) prepared: bool,
    tasks: JoinSet<()>,
    owners: HashMap<Id, StepIndex>,
    /// The services of chains, by chain, while a step that reaches them may still run.
    chains: HashMap<usize, Arc<Chain>>,
    /// What services leave to be removed behind the steps' backs.
    removals: TaskTracker,
    reports: mpsc::UnboundedReceiver<Report>,
    report_to: mpsc::UnboundedSender<Report>,
    /// Canceled by whoever started the run, by the timeout, and by the first failure.
    halt: Cancel,
    /// Canceled by whoever started the run.
    canceled: Cancel,
    late: Arc<AtomicBool>,
}

impl Scheduler {
    pub(in crate::local) fn new(
        run: Arc<Run>,
        sink: Sink,
        keeper: Keeper,
        slots: usize,
        cancel: &Cancel,
        decided: Vec<Decided>,
    ) -> Self {
        let graph = run.graph();
        let steps = graph
            .steps()
            .zip(decided)
            .map(|((index, _), decided)| {
                StepState::new(run.step_id(index), decided, graph.dependencies(index).len())
            })
            .collect();
        let mut ranks = vec![0; graph.len()];
        for index in graph.topological().iter().rev() {
            let longest = graph
                .dependents(*index)
                .iter()
                .map(|later| ranks[later.as_usize()] + 1)
                .max();
            ranks[index.as_usize()] = longest.unwrap_or(0);
        }
        let (report_to, reports) = mpsc::unbounded_channel();
        Self {
            run,
            sink,
            steps,
            cause: None,
            error: None,
            any_failed: false,
            keeper,
            ready: BinaryHeap::new(),
            ranks,
            slots,
            running: 0,
            prepared: false,
            tasks: JoinSet::new(),
            owners: HashMap::new(),
            chains: HashMap::new(),
            removals: TaskTracker::new(),
            reports,
            report_to,
            halt: cancel.child(),
            canceled: cancel.clone(),
            late: Arc::default(),
        }
    }
}
