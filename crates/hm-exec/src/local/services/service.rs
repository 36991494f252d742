//! One service: a machine of its own, its command, and how it stands.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use hm_vm::{Cancel, ExecOutcome, ExecRequest, ExitStatus, KillReason, ResolvedImage, Vm, VmError};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::super::output::Output;
use super::health::{self, Health};
use super::log::{self, CHUNKS, Turn};
use super::pod::Pod;
use super::{Site, Spec, words};
use crate::handle::panic_words;
use crate::local::patience::in_patience;

/// How a service stands. It only ever moves on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Starting,
    Usable,
    /// It never could be used; the words say why.
    Unready(String),
    /// Its command has ended.
    Ended(ExecOutcome),
    /// This machine could not do its part.
    Broken(String),
}

/// A service that was started.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: String,
    state: watch::Receiver<State>,
    turns: mpsc::Sender<Turn>,
}

/// Why a service cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    Unready(String),
    Broken(VmError),
}

impl Service {
    /// Starts it in a pod. `cancel` stops it.
    pub(super) fn start(site: &Site, pod: &Arc<Pod>, spec: &Spec, step_id: Uuid, cancel: Cancel) -> Self {
        let (state, standing) = watch::channel(State::Starting);
        let (turns, coming) = mpsc::channel(1);
        let mut request = spec.request.clone();
        request.pod = Some(pod.id.clone());
        let task = Task {
            site: site.clone(),
            image: spec.image.clone(),
            request,
            spec: spec.clone(),
            step_id,
            state,
            cancel,
        };
        pod.machines.spawn(task.run(coming));
        Self {
            name: spec.name.clone(),
            state: standing,
            turns,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until it can be used, or never will.
    pub(super) async fn usable(&self) -> Result<(), Unusable> {
        let mut state = self.state.clone();
        let known = state.wait_for(|state| *state != State::Starting).await;
        match known.as_deref() {
            Ok(State::Starting | State::Usable) => Ok(()),
            Ok(State::Unready(why)) => Err(Unusable::Unready(why.clone())),
            Ok(State::Ended(outcome)) => Err(Unusable::Unready(words::ended_early(&self.name, outcome))),
            Ok(State::Broken(what)) => Err(Unusable::Broken(VmError::Other(what.clone()))),
            Err(_) => Err(Unusable::Broken(self.lost())),
        }
    }

    /// Waits until this machine cannot do its part any more; for ever where it can.
    pub(super) async fn broken(&self) -> VmError {
        let mut state = self.state.clone();
        loop {
            if let State::Broken(what) = &*state.borrow_and_update() {
                return VmError::Other(what.clone());
            }
            if state.changed().await.is_err() {
                // Its task has come to its end, and nothing broke.
                return std::future::pending().await;
            }
        }
    }

    fn lost(&self) -> VmError {
        VmError::Other(format!(
            "the task of service `{}` ended early; this is a bug in hm",
            self.name
        ))
    }

    /// What it writes from now on belongs to this step.
    pub(super) async fn under(&self, step_id: Uuid) {
        // One that has ended has nothing more to say.
        let _ = self.turns.send(Turn::Under(step_id)).await;
    }

    /// Tells what it has written so far, and nothing more until another step runs.
    pub(super) async fn pause(&self) {
        let (told, done) = oneshot::channel();
        let _ = self.turns.send(Turn::Pause(told)).await;
        let _ = done.await;
    }

    /// Waits, once it has been killed, until it is gone and all that it wrote is told.
    pub(super) async fn gone(&self) {
        let _ = self.turns.send(Turn::Last).await;
        self.turns.closed().await;
        let mut state = self.state.clone();
        let _ = state
            .wait_for(|state| !matches!(state, State::Starting | State::Usable))
            .await;
    }
}

/// The end of a service that was stopped before it began.
const fn stopped() -> ExecOutcome {
    ExecOutcome {
        status: ExitStatus::Signal(9),
        killed: Some(KillReason::Canceled),
        notes: Vec::new(),
    }
}

/// What runs a service.
struct Task {
    site: Site,
    image: ResolvedImage,
    request: ExecRequest,
    spec: Spec,
    step_id: Uuid,
    state: watch::Sender<State>,
    cancel: Cancel,
}

impl Task {
    async fn run(self, turns: mpsc::Receiver<Turn>) {
        let lived = AssertUnwindSafe(self.live(turns)).catch_unwind().await;
        if let Err(payload) = lived {
            let words = panic_words(payload.as_ref());
            self.broken(&format!("its task panicked: {words}; this is a bug in hm"));
        }
    }

    async fn live(&self, turns: mpsc::Receiver<Turn>) {
        let mut vm = match in_patience(&self.cancel, self.site.vm.create(&self.image)).await {
            Some(Ok(vm)) => vm,
            Some(Err(error)) => return self.broken(&error.to_string()),
            None => return self.turn(State::Ended(stopped())),
        };
        match in_patience(&self.cancel, vm.inject(Arc::clone(&self.site.source))).await {
            Some(Ok(())) => self.serve(vm.as_ref(), turns).await,
            Some(Err(error)) => self.broken(&error.to_string()),
            None => self.turn(State::Ended(stopped())),
        }
        if let Err(error) = vm.destroy().await {
            tracing::warn!(%error, "a service's machine could not be removed; the next run tries again");
        }
    }

    async fn serve(&self, vm: &dyn Vm, turns: mpsc::Receiver<Turn>) {
        let output = Output::of_service(&self.site.sink, self.step_id, &self.spec.name);
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let over = self.cancel.child();
        let command = async {
            match vm.exec(&self.request, sender, self.cancel.clone()).await {
                Ok(outcome) => self.turn(State::Ended(outcome)),
                Err(error) => self.broken(&error.to_string()),
            }
            over.kill();
        };
        let checked = async {
            if let Err(error) = self.check(vm, &over).await {
                self.broken(&error.to_string());
                self.cancel.kill();
            }
        };
        tokio::join!(command, log::tell(output, chunks, turns), checked);
    }

    async fn check(&self, vm: &dyn Vm, over: &Cancel) -> Result<(), VmError> {
        let health = match &self.spec.health {
            None => Health::Passed,
            Some(health) => health::check(vm, &self.request, self.spec.shell.as_ref(), health, over).await?,
        };
        match (health, &self.spec.health) {
            (Health::Passed, _) => self.turn(State::Usable),
            (Health::Late(last), Some(health)) => {
                self.turn(State::Unready(words::late(
                    &self.spec.name,
                    health,
                    last.as_deref(),
                )));
                self.cancel.terminate();
            }
            _ => {}
        }
        Ok(())
    }

    /// Moves on to a state, unless it has come further.
    fn turn(&self, next: State) {
        self.state.send_if_modified(|state| {
            let on = match (&*state, &next) {
                (State::Starting, _) => true,
                (State::Usable, next) => *next != State::Usable,
                _ => false,
            };
            if on {
                *state = next;
            }
            on
        });
    }

    fn broken(&self, what: &str) {
        self.state
            .send_replace(State::Broken(format!("service `{}`: {what}", self.spec.name)));
    }
}
