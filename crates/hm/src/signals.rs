//! Ctrl-C: once cancels, twice kills.

use std::io;
use std::time::Duration;

use hm_vm::Cancel;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit;
use crate::show::Notes;

/// Makes the cursor visible again and ends whatever colour was on.
const RESTORE_TERMINAL: &[u8] = b"\x1b[?25h\x1b[0m";

/// How long a build that is killed has to clear up.
const ORDERLY: Duration = Duration::from_secs(1);

/// The signals that end a build.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None where whoever started hm ignores it, as `nohup` does.
    hangup: Option<Signal>,
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
            hangup: match is_ignored(SignalKind::hangup()) {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }

    /// Has the steps terminated on the first signal, and killed on the second. This process ends soon after that in any
    /// case, and at once on the third.
    pub async fn cancel_then_kill(mut self, cancel: Cancel, notes: Notes, stderr_tty: bool) {
        self.next().await;
        notes.say("canceling; once more to kill");
        cancel.terminate();
        self.next().await;
        cancel.kill();
        let _ = tokio::time::timeout(ORDERLY, self.next()).await;
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

/// Whether this process was started with the signal ignored. Asked before a handler is installed.
fn is_ignored(signal: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal.as_raw_value() - 1) & 1 == 1)
}
