//! A terminal for an interactive command: a pty whose one end the command has, and a person the other.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::Winsize;
use tokio::sync::oneshot;

use hm_vm::{Result, Terminal, TerminalInput, TerminalSize, VmError};

/// A new terminal: hm's end, and the command's.
pub(super) fn open(size: TerminalSize) -> Result<(File, OwnedFd)> {
    let make = || -> rustix::io::Result<(OwnedFd, OwnedFd)> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let theirs = rustix::fs::open(
            name,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok((ours, theirs))
    };
    let (ours, theirs) =
        make().map_err(|error| VmError::Setup(format!("cannot open a terminal: {error}")))?;
    let ours = File::from(ours);
    resize(&ours, size);
    Ok((ours, theirs))
}

fn resize(terminal: &File, size: TerminalSize) {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // A size that was not taken is set right by the next change.
    let _ = rustix::termios::tcsetwinsize(terminal, size);
}

/// Moves keys in and pictures out, each by a thread of its own; the receiver hears when the last picture
/// was delivered.
pub(super) fn relay(ours: File, person: Terminal) -> Result<oneshot::Receiver<()>> {
    let failed = |error: std::io::Error| VmError::Setup(format!("cannot relay the terminal: {error}"));
    let mut keyboard = ours.try_clone().map_err(failed)?;
    let mut screen = ours;
    let Terminal {
        mut input, output, ..
    } = person;
    let (done, finished) = oneshot::channel();
    let thread = |name: &str| std::thread::Builder::new().name(name.into());

    thread("hm-keyboard")
        .spawn(move || {
            while let Some(input) = input.blocking_recv() {
                match input {
                    TerminalInput::Resize(size) => resize(&keyboard, size),
                    TerminalInput::Bytes(bytes) => {
                        if keyboard.write_all(&bytes).is_err() {
                            return;
                        }
                    }
                }
            }
            // The person's input has ended: so does the command's.
            let _ = keyboard.write_all(b"\x04");
        })
        .map_err(failed)?;
    thread("hm-screen")
        .spawn(move || {
            let mut buffer = vec![0; 16 * 1024];
            // The kernel says EIO when the last process has closed its end.
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                if output
                    .blocking_send(Bytes::copy_from_slice(&buffer[..read]))
                    .is_err()
                {
                    break;
                }
            }
            // Whoever waited may have been dropped.
            let _ = done.send(());
        })
        .map_err(failed)?;
    Ok(finished)
}
