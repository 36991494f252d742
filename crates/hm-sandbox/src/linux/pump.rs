//! Moves what a command writes from its pipes to whoever listens, as fast as that one reads.

use std::os::fd::OwnedFd;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::mpsc;

use super::hints::Hints;
use hm_vm::{OutputChunk, Result, Stream, VmError};

const CHUNK: usize = 64 * 1024;

/// A pipe for a command to write to: our end, and the command's.
pub(super) fn pipe() -> Result<(Receiver, OwnedFd)> {
    let failed = |error: std::io::Error| VmError::Setup(format!("cannot make a pipe: {error}"));
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(std::io::Error::from)
        .map_err(failed)?;
    rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK)
        .map_err(std::io::Error::from)
        .map_err(failed)?;
    Ok((Receiver::from_owned_fd(reader).map_err(failed)?, writer))
}

/// Why a pump stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The command's end of the pipe is closed, and every byte was delivered.
    End,
    /// Nobody listens any more.
    ListenerGone,
}

/// Delivers one stream to its end.
pub(super) async fn pump(
    mut pipe: Receiver,
    stream: Stream,
    output: &mpsc::Sender<OutputChunk>,
    hints: &Hints,
) -> std::io::Result<Stopped> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        if pipe.read_buf(&mut buffer).await? == 0 {
            return Ok(Stopped::End);
        }
        let bytes = buffer.split().freeze();
        let chunk = OutputChunk { stream, bytes };
        hints.look(&chunk);
        if output.send(chunk).await.is_err() {
            return Ok(Stopped::ListenerGone);
        }
        if buffer.capacity() < CHUNK / 4 {
            buffer.reserve(CHUNK);
        }
    }
}
