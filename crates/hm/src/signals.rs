//! Ctrl-C: once cancels, twice kills.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit;
use crate::show::Notes;

/// Makes the cursor visible again and ends whatever colour was on.
const RESTORE_TERMINAL: &[u8] = b"\x1b[?25h\x1b[0m";

/// The signals that end a build.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes over SIGINT, SIGTERM and SIGHUP.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn take_over() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }

    /// Cancels `token` on the first signal and ends the process on the second.
    pub async fn cancel_then_kill(mut self, token: CancellationToken, notes: Notes, stderr_tty: bool) {
        self.next().await;
        notes.say("canceling; once more to kill");
        token.cancel();
        self.next().await;
        kill(stderr_tty);
    }
}

#[expect(
    clippy::exit,
    reason = "the user asked twice: nothing may hold the process up, not even destructors"
)]
fn kill(stderr_tty: bool) -> ! {
    if stderr_tty {
        let _ = io::Write::write_all(&mut io::stderr(), RESTORE_TERMINAL);
    }
    std::process::exit(i32::from(exit::CANCELED))
}
