//! Runs one step: a machine from its parent's snapshot, the source, its services, the command, and a snapshot of what it
//! left.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use hm_plugin_protocol::events::{BuildEvent, CANCELED, TIMED_OUT};
use hm_source::Source;
use hm_vm::{Cancel, CommandStart, ExecOutcome, ExecRequest, KillReason, SnapshotId, Vm, VmBackend, VmError};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::artifacts::{Collected, Collector, Listed};
use super::output::Output;
use super::patience::{PATIENCE, in_patience};
use super::run::Start;
use super::services::{Beside, Readiness, Services};
use super::sink::Sink;

/// How many chunks of output wait between a machine and the line splitter.
const CHUNKS: usize = 8;

/// Everything that running one step takes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) vm: Arc<dyn VmBackend>,
    pub(super) source: Arc<Source>,
    pub(super) sink: Sink,
    pub(super) step_id: Uuid,
    pub(super) runner: String,
    pub(super) start: Start,
    pub(super) request: ExecRequest,
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) soft_fail: bool,
    pub(super) services: Option<Services>,
    pub(super) has_git: bool,
    pub(super) artifacts: Option<Collector>,
    /// Set once the build has run out of time.
    pub(super) late: Arc<AtomicBool>,
    /// Whoever started the build wants its end: what is kept of a step that has ended is not waited for.
    pub(super) canceled: Cancel,
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
    pub(super) artifacts: Listed,
}

/// An attempt's end, and the machine it was made on.
struct Attempt {
    /// None where it was stopped before there was one.
    vm: Option<Box<dyn Vm>>,
    ending: Ending,
    exit_code: i32,
    notes: Vec<String>,
}

/// What became of an attempt's command.
enum Ran {
    /// It was stopped before it began.
    Stopped,
    /// A service that it needs cannot be used, for this reason.
    Unready(String),
    Ended {
        outcome: ExecOutcome,
        missed_git: bool,
    },
}

impl Job {
    /// Runs the step with all its attempts. The machine of the last one, where it has one, comes back for whoever
    /// destroys it.
    pub(super) async fn run(&self, cancel: &Cancel) -> Result<(Finished, Option<Box<dyn Vm>>), VmError> {
        for attempt in 1.. {
            let mut tried = self.attempt(cancel, attempt).await?;
            if !self.tries_again(tried.ending, attempt) {
                let collected = self.collect(&mut tried, cancel).await;
                let mut finished = self.seal(&mut tried, cancel).await?;
                if let Some(collected) = collected {
                    finished.artifacts = (self.artifacts.as_ref())
                        .map_or_else(Listed::default, |collector| {
                            collector.listed(&collected.artifacts)
                        });
                    self.remember(&finished, collected).await;
                }
                return Ok((finished, tried.vm));
            }
            if let Some(vm) = tried.vm {
                vm.destroy().await?;
            }
            let again = self.started(None, Some((attempt + 1, tried.exit_code)));
            self.sink.send(again).await;
        }
        Err(VmError::Other("a step was tried too often".into()))
    }

    /// The event of an attempt's beginning: the first one's, or this one's with the exit code of the one before.
    pub(super) fn started(&self, cache_miss: Option<String>, again: Option<(u32, i32)>) -> BuildEvent {
        BuildEvent::StepStart {
            step_id: self.step_id,
            runner: self.runner.clone(),
            image: match &self.start {
                Start::Image(image) => Some(image.reference.to_string()),
                Start::Snapshot(_) => None,
            },
            cache_miss,
            attempt: again.map(|(attempt, _)| attempt),
            previous_exit_code: again.map(|(_, exit_code)| exit_code),
        }
    }

    const fn tries_again(&self, ending: Ending, attempt: u32) -> bool {
        matches!(ending, Ending::Failed | Ending::TimedOut) && attempt <= self.retries
    }

    /// An attempt, with its services from their beginning to their end: whatever happens meanwhile, none of them is left
    /// and none says anything any more when this returns.
    async fn attempt(&self, cancel: &Cancel, attempt: u32) -> Result<Attempt, VmError> {
        let mut beside = match &self.services {
            Some(services) if !cancel.is_terminated() => Some(services.begin().await?),
            _ => None,
        };
        let tried = AssertUnwindSafe(self.command(beside.as_mut(), cancel, attempt))
            .catch_unwind()
            .await;
        let ending = match &tried {
            Ok(Ok(tried)) => Some(tried.ending),
            _ => None,
        };
        let passed = ending == Some(Ending::Passed);
        let on = passed
            || ending.is_some_and(|ending| {
                self.tries_again(ending, attempt) || (self.soft_fail && ending != Ending::Stopped)
            });
        let mut notes = match beside {
            Some(beside) => beside.end(on, passed).await,
            None => Vec::new(),
        };
        let mut tried = match tried {
            Ok(tried) => tried?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        if tried.ending != Ending::Stopped {
            tried.notes.append(&mut notes);
        }
        Ok(tried)
    }

    async fn command(
        &self,
        beside: Option<&mut Beside>,
        cancel: &Cancel,
        attempt: u32,
    ) -> Result<Attempt, VmError> {
        let (kill, start) = (cancel.child(), CommandStart::default());
        let tried = self.try_once(beside, &start, &kill, attempt);
        let (tried, late) = self.timed(tried, &start, &kill).await;
        let (vm, ran) = tried?;
        let stopped = cancel.is_terminated();
        let mut notes = Vec::new();
        let (ending, exit_code) = match ran {
            Ran::Ended { outcome, missed_git } => {
                let (ending, exit_code) = verdict(&outcome, late);
                notes.extend(outcome.notes);
                if ending == Ending::Failed && missed_git && !self.has_git {
                    notes.push(".git is not brought into steps: use --git, or git=True on the step".into());
                }
                (ending, exit_code)
            }
            Ran::Unready(_) if stopped => (Ending::Stopped, CANCELED),
            Ran::Stopped => (Ending::Stopped, CANCELED),
            Ran::Unready(why) => {
                notes.push(why);
                (Ending::Failed, 1)
            }
        };
        if ending == Ending::TimedOut
            && let Some(limit) = self.timeout
        {
            notes.insert(0, format!("it ran into its timeout of {} s", limit.as_secs_f64()));
        }
        Ok(Attempt {
            vm,
            ending,
            exit_code,
            notes,
        })
    }

    /// Readies the machine and the services at once, then runs the command.
    async fn try_once(
        &self,
        beside: Option<&mut Beside>,
        start: &CommandStart,
        kill: &Cancel,
        attempt: u32,
    ) -> Result<(Option<Box<dyn Vm>>, Ran), VmError> {
        let machine = self.start.machine(self.vm.as_ref(), kill);
        let mut request = self.request.clone();
        request.start = start.clone();
        let Some(beside) = beside else {
            let Some(mut vm) = machine.await? else {
                return Ok((None, Ran::Stopped));
            };
            if !self.lay_source(vm.as_mut(), kill).await? {
                return Ok((Some(vm), Ran::Stopped));
            }
            let ran = self.exec(vm.as_ref(), &request, kill, attempt).await?;
            return Ok((Some(vm), ran));
        };
        let stop = kill.child();
        let machine = async {
            let made = machine.await;
            if made.is_err() {
                stop.kill();
            }
            made
        };
        let (vm, ready) = tokio::join!(machine, beside.ready(&stop));
        let Some(mut vm) = vm? else {
            return Ok((None, Ran::Stopped));
        };
        match ready? {
            Readiness::Usable => {}
            Readiness::Unready(why) => return Ok((Some(vm), Ran::Unready(why))),
            Readiness::Stopped => return Ok((Some(vm), Ran::Stopped)),
        }
        if !self.lay_source(vm.as_mut(), kill).await? {
            return Ok((Some(vm), Ran::Stopped));
        }
        request.pod = Some(beside.pod());
        let kill = kill.child();
        let ran = {
            let exec = self.exec(vm.as_ref(), &request, &kill, attempt);
            tokio::pin!(exec);
            tokio::select! {
                biased;
                ran = &mut exec => ran?,
                error = beside.broken() => {
                    kill.kill();
                    exec.await?;
                    return Err(error);
                }
            }
        };
        Ok((Some(vm), ran))
    }

    /// Lays the source, and tells whether the command may begin.
    async fn lay_source(&self, vm: &mut dyn Vm, kill: &Cancel) -> Result<bool, VmError> {
        if kill.is_terminated() {
            return Ok(false);
        }
        let laid = in_patience(kill, vm.inject(Arc::clone(&self.source))).await;
        Ok(laid.transpose()?.is_some() && !kill.is_terminated())
    }

    async fn exec(
        &self,
        vm: &dyn Vm,
        request: &ExecRequest,
        kill: &Cancel,
        attempt: u32,
    ) -> Result<Ran, VmError> {
        let mut output = Output::of_attempt(&self.sink, self.step_id, attempt);
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let (outcome, ()) = tokio::join!(vm.exec(request, sender, kill.clone()), output.drain(chunks));
        Ok(Ran::Ended {
            outcome: outcome?,
            missed_git: output.missed_git,
        })
    }

    /// Waits for an attempt, and ends it once the step's time is up, which counts from the command's start. Tells whether
    /// it was then still under way, as far as was known here: a timer may come late.
    async fn timed<T>(
        &self,
        exec: impl Future<Output = T>,
        start: &CommandStart,
        kill: &Cancel,
    ) -> (T, bool) {
        let Some(limit) = self.timeout else {
            return (exec.await, false);
        };
        let up = async {
            start.reached().await;
            tokio::time::sleep(limit).await;
        };
        tokio::pin!(exec);
        tokio::select! {
            biased;
            done = &mut exec => (done, false),
            () = up => {
                kill.terminate();
                (exec.await, true)
            }
        }
    }

    /// Collects the artifacts of the last attempt, for as long as nobody stops the build.
    async fn collect(&self, tried: &mut Attempt, cancel: &Cancel) -> Option<Collected> {
        let collector = self.artifacts.as_ref()?;
        let late = self.late.load(Ordering::Acquire);
        if tried.ending == Ending::Stopped && !late {
            return None;
        }
        let collect = collector.collect(tried.vm.as_deref()?, tried.ending == Ending::Passed);
        let collected = if late {
            Some(collect.await)
        } else {
            cancel.run_until_terminated(collect).await
        };
        let Some(mut collected) = collected else {
            tried
                .notes
                .push("its artifacts were not collected, for the build was stopped".into());
            return None;
        };
        tried.notes.append(&mut collected.notes);
        Some(collected)
    }

    /// Lets the artifacts be listed again on a cache hit.
    async fn remember(&self, finished: &Finished, collected: Collected) {
        if let Some(collector) = &self.artifacts
            && let (Ending::Passed, Some(snapshot)) = (finished.ending, &finished.snapshot)
        {
            collector.remember(snapshot, collected).await;
        }
    }

    /// Takes the snapshot of what the last attempt left, also of a canceled one: somebody will ask what it hung on. Nobody
    /// waits long for that once the build is canceled, and not at all once it is killed. A step of which nothing is kept for
    /// that reason has not passed: nothing can build in it.
    async fn seal(&self, tried: &mut Attempt, cancel: &Cancel) -> Result<Finished, VmError> {
        let mut notes = std::mem::take(&mut tried.notes);
        let hurried = tried.ending == Ending::Stopped && !self.late.load(Ordering::Acquire);
        let hurry = if hurried { cancel } else { &self.canceled };
        let sealed = match &mut tried.vm {
            None => None,
            Some(_) if hurried && cancel.is_killed() => None,
            Some(vm) => Some(in_patience(hurry, vm.snapshot()).await),
        };
        let (snapshot, why) = match sealed {
            None => (None, None),
            Some(Some(Ok(snapshot))) => (Some(snapshot.id), None),
            Some(Some(Err(error))) if tried.ending == Ending::Passed => return Err(error),
            Some(Some(Err(error))) => (None, Some(error.to_string())),
            Some(None) if hurry.is_killed() => (None, Some("the build was killed".to_owned())),
            Some(None) => {
                let longest = PATIENCE.as_secs_f64();
                (
                    None,
                    Some(format!(
                        "the build was canceled, and it took longer than {longest} s"
                    )),
                )
            }
        };
        notes.extend(why.map(|why| format!("what it left could not be kept: {why}")));
        if tried.ending == Ending::Passed && snapshot.is_none() {
            (tried.ending, tried.exit_code) = (Ending::Stopped, CANCELED);
        }
        Ok(Finished {
            ending: tried.ending,
            exit_code: tried.exit_code,
            snapshot,
            message: (!notes.is_empty()).then(|| notes.join("; ")),
            artifacts: Listed::default(),
        })
    }
}

/// What a command's end means. Only what was ended from here was late or stopped: what ended by itself did so in time,
/// whenever that was heard of.
fn verdict(outcome: &ExecOutcome, late: bool) -> (Ending, i32) {
    let code = outcome.status.code();
    match outcome.killed {
        None if code == 0 => (Ending::Passed, 0),
        Some(KillReason::Canceled) if late => (Ending::TimedOut, TIMED_OUT),
        Some(KillReason::Canceled) => (Ending::Stopped, CANCELED),
        // A command that was killed has failed, whatever its last process said.
        _ => (Ending::Failed, if code == 0 { 1 } else { code }),
    }
}
