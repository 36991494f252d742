//! How a command is asked to end, and how it is made to.

use tokio_util::sync::CancellationToken;

/// Ends a command in two steps: [`Cancel::terminate`] asks it to (SIGTERM, and the grace of its
/// [`crate::ExecRequest`]), [`Cancel::kill`] makes it end at once. Clones are one handle.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    terminate: CancellationToken,
    kill: CancellationToken,
}

impl Cancel {
    /// A handle that nobody has used yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle from its two halves, for whoever already has tokens. A canceled `kill` counts as both.
    #[must_use]
    pub const fn from_tokens(terminate: CancellationToken, kill: CancellationToken) -> Self {
        Self { terminate, kill }
    }

    /// A handle that ends with this one, and can end before it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            terminate: self.terminate.child_token(),
            kill: self.kill.child_token(),
        }
    }

    /// A handle that is killed with this one, but not terminated with it: for what others still use while they end.
    #[must_use]
    pub fn killed_with(&self) -> Self {
        Self {
            terminate: CancellationToken::new(),
            kill: self.kill.child_token(),
        }
    }

    /// Asks the command to end: every process of it gets SIGTERM, and what is left after the grace is killed.
    pub fn terminate(&self) {
        self.terminate.cancel();
    }

    /// Kills every process of the command at once.
    pub fn kill(&self) {
        self.terminate.cancel();
        self.kill.cancel();
    }

    /// Whether the command is to end, in whatever manner.
    #[must_use]
    pub fn is_terminated(&self) -> bool {
        self.terminate.is_cancelled() || self.is_killed()
    }

    /// Whether the command is to end at once.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.kill.is_cancelled()
    }

    /// Waits until the command is to end, in whatever manner.
    pub async fn terminated(&self) {
        tokio::select! {
            () = self.terminate.cancelled() => {}
            () = self.kill.cancelled() => {}
        }
    }

    /// Waits until the command is to end at once.
    pub async fn killed(&self) {
        self.kill.cancelled().await;
    }

    /// Runs a future to its end, or until the command is to end.
    pub async fn run_until_terminated<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.terminated() => None,
            done = future => Some(done),
        }
    }

    /// The half that [`Cancel::terminate`] cancels.
    #[must_use]
    pub fn terminate_token(&self) -> CancellationToken {
        self.terminate.clone()
    }

    /// The half that [`Cancel::kill`] cancels, too.
    #[must_use]
    pub fn kill_token(&self) -> CancellationToken {
        self.kill.clone()
    }

    /// Terminates the command when it is dropped.
    #[must_use]
    pub fn drop_guard(&self) -> TerminateOnDrop {
        TerminateOnDrop(self.clone())
    }
}

/// Terminates a command when it is dropped.
#[derive(Debug)]
pub struct TerminateOnDrop(Cancel);

impl Drop for TerminateOnDrop {
    fn drop(&mut self) {
        self.0.terminate();
    }
}
