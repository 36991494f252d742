//! Runs one step: a machine from its parent's snapshot, the source, the command, and a snapshot of what it left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hm_plugin_protocol::events::BuildEvent;
use hm_vm::source::Source;
use hm_vm::{ExecOutcome, ExecRequest, KillReason, ResolvedImage, SnapshotId, Vm, VmBackend, VmError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::output::Output;
use super::sink::Sink;

/// How many chunks of output wait between a machine and the line splitter.
const CHUNKS: usize = 8;

/// The exit code of a step that ran into a timeout, as `timeout(1)` has it.
pub(super) const TIMED_OUT: i32 = 124;
/// The exit code of a step that was canceled, as a shell tells an interrupt.
pub(super) const CANCELED: i32 = 130;

/// What a step starts from.
#[derive(Debug, Clone)]
pub(super) enum Start {
    Image(ResolvedImage),
    Snapshot(SnapshotId),
}

/// Everything that running one step takes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) vm: Arc<dyn VmBackend>,
    pub(super) source: Arc<Source>,
    pub(super) sink: Sink,
    pub(super) step_id: Uuid,
    pub(super) start: Start,
    pub(super) request: ExecRequest,
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) has_git: bool,
    /// Set once the build has run out of time.
    pub(super) late: Arc<AtomicBool>,
}

/// How a step's last attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Passed,
    Failed,
    TimedOut,
    /// The token was canceled; whoever canceled it knows why.
    Stopped,
}

/// A step that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) ending: Ending,
    pub(super) exit_code: i32,
    pub(super) snapshot: Option<SnapshotId>,
    pub(super) message: Option<String>,
}

/// An attempt's end, and the machine it was made on.
struct Attempt {
    vm: Box<dyn Vm>,
    ending: Ending,
    exit_code: i32,
    notes: Vec<String>,
}

impl Job {
    /// Runs the step with all its attempts. The machine of the last one comes back for whoever destroys it.
    pub(super) async fn run(&self, cancel: &CancellationToken) -> Result<(Finished, Box<dyn Vm>), VmError> {
        for attempt in 1.. {
            let mut tried = self.attempt(cancel).await?;
            let failed = matches!(tried.ending, Ending::Failed | Ending::TimedOut);
            if !failed || attempt > self.retries {
                let finished = self.seal(&mut tried).await?;
                return Ok((finished, tried.vm));
            }
            tried.vm.destroy().await?;
            let event = BuildEvent::StepRetry {
                step_id: self.step_id,
                attempt: attempt + 1,
                exit_code: tried.exit_code,
            };
            self.sink.send(event).await;
        }
        Err(VmError::Other("a step was tried too often".into()))
    }

    async fn attempt(&self, cancel: &CancellationToken) -> Result<Attempt, VmError> {
        let mut vm = match &self.start {
            Start::Image(image) => self.vm.create(image).await?,
            Start::Snapshot(snapshot) => self.vm.restore(snapshot).await?,
        };
        if cancel.is_cancelled() {
            return Ok(Attempt {
                vm,
                ending: Ending::Stopped,
                exit_code: CANCELED,
                notes: Vec::new(),
            });
        }
        vm.inject(Arc::clone(&self.source)).await?;
        let mut output = Output::new(&self.sink, self.step_id);
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let kill = cancel.child_token();
        let exec = self.timed(vm.exec(&self.request, sender, kill.clone()), &kill);
        let ((outcome, late), ()) = tokio::join!(exec, output.drain(chunks));
        let outcome = outcome?;
        let (ending, exit_code) = verdict(&outcome, late, cancel.is_cancelled());
        let mut notes = outcome.notes;
        if late && let Some(limit) = self.timeout {
            notes.push(format!("it ran into its timeout of {} s", limit.as_secs_f64()));
        }
        if ending == Ending::Failed && output.missed_git && !self.has_git {
            notes.push(".git is not brought into steps: use --git, or git=True on the step".into());
        }
        Ok(Attempt {
            vm,
            ending,
            exit_code,
            notes,
        })
    }

    /// Waits for a command, and kills it once the step's time is up. Tells whether that was needed.
    async fn timed<T>(&self, exec: impl Future<Output = T>, kill: &CancellationToken) -> (T, bool) {
        let Some(limit) = self.timeout else {
            return (exec.await, false);
        };
        tokio::pin!(exec);
        tokio::select! {
            biased;
            done = &mut exec => (done, false),
            () = tokio::time::sleep(limit) => {
                kill.cancel();
                (exec.await, true)
            }
        }
    }

    /// Takes the snapshot of what the last attempt left. A canceled step leaves none, for nobody waits for it;
    /// one that the build's timeout stopped does, for somebody will ask what it hung on.
    async fn seal(&self, tried: &mut Attempt) -> Result<Finished, VmError> {
        let mut notes = std::mem::take(&mut tried.notes);
        let snapshot = match tried.ending {
            Ending::Stopped if !self.late.load(Ordering::Acquire) => None,
            Ending::Passed => Some(tried.vm.snapshot().await?.id),
            Ending::Failed | Ending::TimedOut | Ending::Stopped => match tried.vm.snapshot().await {
                Ok(snapshot) => Some(snapshot.id),
                Err(error) => {
                    notes.push(format!("what it left could not be kept: {error}"));
                    None
                }
            },
        };
        Ok(Finished {
            ending: tried.ending,
            exit_code: tried.exit_code,
            snapshot,
            message: (!notes.is_empty()).then(|| notes.join("; ")),
        })
    }
}

fn verdict(outcome: &ExecOutcome, late: bool, stopped: bool) -> (Ending, i32) {
    let code = outcome.status.code();
    match outcome.killed {
        None if code == 0 => (Ending::Passed, 0),
        _ if late => (Ending::TimedOut, TIMED_OUT),
        Some(KillReason::Canceled) => (Ending::Stopped, CANCELED),
        _ if stopped => (Ending::Stopped, CANCELED),
        // A command that was killed has failed, whatever its last process said.
        _ => (Ending::Failed, if code == 0 { 1 } else { code }),
    }
}
