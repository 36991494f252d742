//! A running build: a stream of events, and a control.

use futures::StreamExt;
use futures::stream::BoxStream;
use hm_plugin_protocol::events::BuildEvent;
use hm_vm::Cancel;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{BackendError, BuildOutcome, Result};

/// The events of a build, in order; hand it to hm-render.
pub type EventStream = BoxStream<'static, BuildEvent>;

/// A running build.
#[derive(Debug)]
pub struct BackendHandle {
    events: mpsc::Receiver<BuildEvent>,
    control: Control,
}

impl BackendHandle {
    /// Puts a handle together: `outcome` is the task that runs the build, sends its events into the other end
    /// of `rx` and heeds `cancel`.
    #[must_use]
    pub fn spawn(
        rx: mpsc::Receiver<BuildEvent>,
        cancel: CancellationToken,
        outcome: JoinHandle<Result<BuildOutcome>>,
    ) -> Self {
        Self::spawn_with(rx, Cancel::from_tokens(cancel, CancellationToken::new()), outcome)
    }

    /// The same for a build that tells being asked to end from being killed.
    #[must_use]
    pub fn spawn_with(
        rx: mpsc::Receiver<BuildEvent>,
        cancel: Cancel,
        outcome: JoinHandle<Result<BuildOutcome>>,
    ) -> Self {
        Self {
            events: rx,
            control: Control { cancel, outcome },
        }
    }

    /// Splits the handle into what is rendered and what cancels and waits.
    #[must_use]
    pub fn into_parts(self) -> (EventStream, Control) {
        let mut events = self.events;
        let stream = futures::stream::poll_fn(move |cx| events.poll_recv(cx)).boxed();
        (stream, self.control)
    }
}

/// The control half of a running build.
#[derive(Debug)]
pub struct Control {
    cancel: Cancel,
    outcome: JoinHandle<Result<BuildOutcome>>,
}

impl Control {
    /// A token that cancels the build, for a signal handler.
    #[must_use]
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.terminate_token()
    }

    /// Both ways to end the build, for a signal handler.
    #[must_use]
    pub fn cancel_handle(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Asks the build to end: its steps get SIGTERM and their grace. Cooperative and idempotent.
    pub fn cancel(&self) {
        self.cancel.terminate();
    }

    /// Has the build end at once, without a grace for its steps.
    pub fn kill(&self) {
        self.cancel.kill();
    }

    /// Waits for the build to end. Its events must be read meanwhile: the channel is bounded.
    ///
    /// # Errors
    /// An infrastructure failure; [`BackendError::Other`] when the build's task panicked.
    pub async fn wait(self) -> Result<BuildOutcome> {
        match self.outcome.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => {
                let words = panic_words(error.into_panic().as_ref());
                Err(BackendError::Other(format!(
                    "the build's task panicked: {words}; this is a bug in hm"
                )))
            }
            Err(_) => Err(BackendError::Other("the build's task was aborted".into())),
        }
    }
}

/// What a panic said.
pub(crate) fn panic_words(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}
