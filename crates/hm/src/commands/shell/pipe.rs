//! A command without a terminal: its two streams are passed on.

use std::io::{self, Write};

use hm_vm::{Cancel, ExecRequest, OutputChunk, Stream, Vm};
use tokio::sync::mpsc;

use crate::fail::{Failure, Result};

/// Chunks that may wait for a slow reader.
const WAITING: usize = 64;

/// Runs the command to its end and tells its exit code.
///
/// # Errors
/// When it cannot be run, or nobody reads its output.
pub async fn run(machine: &dyn Vm, request: &ExecRequest, cancel: &Cancel) -> Result<u8> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let exec = machine.exec(request, sender, cancel.clone());
    let (outcome, passed_on) = tokio::join!(exec, pass_on(receiver));
    let outcome = outcome?;
    passed_on.map_err(Failure::Output)?;
    Ok(super::attach::code(&outcome))
}

async fn pass_on(mut chunks: mpsc::Receiver<OutputChunk>) -> io::Result<()> {
    while let Some(chunk) = chunks.recv().await {
        match chunk.stream {
            Stream::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&chunk.bytes)?;
                out.flush()?;
            }
            Stream::Stderr => io::stderr().lock().write_all(&chunk.bytes)?,
        }
    }
    Ok(())
}
