//! A command on the user's terminal.

use std::io::{self, Read, Write};

use bytes::Bytes;
use hm_vm::{Cancel, ExecOutcome, ExecRequest, Terminal, TerminalInput, TerminalSize, Vm};
use rustix::termios::{self, OptionalActions, Termios};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::exit;
use crate::fail::{Failure, Result};
use crate::show::terminal_size;

/// Lets the terminal keep its title.
const ENTER: &[u8] = b"\x1b[22;0t";
/// Brings the terminal back from what a program in the shell left it in: another screen, no cursor, colors, a character set,
/// reports of the mouse and of pastes, a title.
const LEAVE: &[u8] =
    b"\x1b[?47l\x1b[!p\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b(B\x0f\x1b[0m\x1b[?25h\x1b[23;0t";

/// Pieces of input or output that may wait.
const WAITING: usize = 64;

/// The terminal hands every key on as it is, until this is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone by now.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Runs the command on the terminal to its end and tells its exit code.
///
/// # Errors
/// When it cannot be run, or the terminal cannot be used.
pub async fn run(machine: &dyn Vm, request: &ExecRequest, cancel: &Cancel) -> Result<u8> {
    let terminal_failed = || Failure::io("cannot use", "the terminal");
    let mut resized = signal(SignalKind::window_change()).map_err(terminal_failed())?;
    let (keys, input) = mpsc::channel(WAITING);
    let (output, mut drawn) = mpsc::channel::<Bytes>(WAITING);
    let raw = Raw::enter().map_err(terminal_failed())?;
    let sizes = keys.clone();
    // A thread of its own, left behind at the end: a read from a terminal cannot be called off.
    std::thread::spawn(move || read_keys(&keys));
    let watcher = tokio::spawn(async move {
        while resized.recv().await.is_some() {
            if sizes.send(TerminalInput::Resize(size())).await.is_err() {
                return;
            }
        }
    });
    let terminal = Terminal {
        size: size(),
        input,
        output,
    };
    // Its receiver goes with it: a command whose terminal is gone ends.
    let draw = async move {
        let mut out = io::stdout();
        out.write_all(ENTER)?;
        while let Some(bytes) = drawn.recv().await {
            out.write_all(&bytes)?;
            out.flush()?;
        }
        out.write_all(LEAVE)?;
        out.flush()
    };
    let (outcome, drawing) = tokio::join!(machine.attach(request, terminal, cancel.clone()), draw);
    watcher.abort();
    drop(raw);
    drawing.map_err(Failure::Output)?;
    Ok(code(&outcome?))
}

/// The exit code that stands for how a command ended.
pub fn code(outcome: &ExecOutcome) -> u8 {
    u8::try_from(outcome.status.code() & 0xff).unwrap_or(exit::FAILED)
}

fn read_keys(keys: &mpsc::Sender<TerminalInput>) {
    let mut buffer = [0; 4096];
    let mut terminal = io::stdin().lock();
    while let Ok(count @ 1..) = terminal.read(&mut buffer) {
        let bytes = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
        if keys.blocking_send(TerminalInput::Bytes(bytes)).is_err() {
            return;
        }
    }
}

fn size() -> TerminalSize {
    let (columns, rows) = terminal_size();
    TerminalSize { columns, rows }
}
