//! Running a machine's own command: its container starts with it and ends with it.

use std::sync::Arc;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{
    AttachContainerOptions, InspectContainerOptions, StartContainerOptions, WaitContainerOptions,
};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::container::{Container, not_started};
use super::disk;
use super::engine::failed;
use super::shared::Shared;
use crate::{
    Cancel, ExecOutcome, ExitStatus, KillReason, Limits, OutputChunk, Result, Stream as OutputStream, VmError,
};

/// The longest chunk of output.
const CHUNK: usize = 64 * 1024;

/// A command that has been started.
pub(super) struct Started {
    pub container: Arc<Container>,
    output: std::pin::Pin<Box<dyn Stream<Item = std::result::Result<LogOutput, Error>> + Send>>,
    input: std::pin::Pin<Box<dyn AsyncWrite + Send>>,
}

impl Started {
    /// Where its line goes.
    pub(super) fn input_mut(&mut self) -> &mut (dyn AsyncWrite + Send + Unpin) {
        &mut self.input
    }
}

/// Starts a container's shell program, with its ends in our hands from the first byte.
pub(super) async fn start(shared: &Shared, container: &Arc<Container>) -> Result<Started> {
    let docker = shared.docker().await?;
    let options = AttachContainerOptions {
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        ..AttachContainerOptions::default()
    };
    let attached = docker
        .attach_container(&container.id, Some(options))
        .await
        .map_err(failed("cannot attach to the step's container"))?;
    docker
        .start_container(&container.id, None::<StartContainerOptions>)
        .await
        .map_err(not_started)?;
    container.set_running(true);
    Ok(Started {
        container: container.clone(),
        output: attached.output,
        input: attached.input,
    })
}

/// Sees a started command to its end: gives it its line, takes what it says, ends it when it is to end.
pub(super) async fn drive(
    shared: &Shared,
    mut started: Started,
    line: &[u8],
    limits: &Limits,
    output: &mpsc::Sender<OutputChunk>,
    cancel: &Cancel,
) -> Result<ExecOutcome> {
    let container = started.container.clone();
    let guard = Ending(&container);
    let (mut killed, mut notes) = (None, Vec::new());
    let mut kill = None;
    {
        let told = async {
            // Whoever ends before it has read its line says why itself.
            let _ = started.input.write_all(line).await;
            let _ = started.input.flush().await;
            std::future::pending::<()>().await;
        };
        let pumped = pump(&mut started.output, output);
        let watch = disk::watch(shared, &container.id, limits.disk);
        tokio::pin!(told, pumped, watch);
        let heard = tokio::select! {
            heard = &mut pumped => heard,
            () = &mut told => Ok(Heard::All),
            () = cancel.terminated() => Ok(Heard::Stopped),
            () = output.closed() => Ok(Heard::Stopped),
            note = &mut watch => {
                notes.push(note);
                killed = Some(KillReason::DiskFull);
                Ok(Heard::Stopped)
            }
        };
        match heard {
            Ok(Heard::All) => {}
            Ok(Heard::Stopped) => kill = Some(Ok(())),
            Err(error) => kill = Some(Err(error)),
        }
    }
    // An engine that still has something to say to us does not end a container.
    drop(started);
    if let Some(why) = kill {
        container.kill(shared).await?;
        why?;
        if killed.is_none() {
            killed = Some(KillReason::Canceled);
        }
    }
    let ended = wait(shared, &container.id);
    tokio::pin!(ended);
    let code = tokio::select! {
        code = &mut ended => code?,
        () = cancel.terminated(), if killed.is_none() => {
            killed = Some(KillReason::Canceled);
            container.kill(shared).await?;
            ended.await?
        }
    };
    drop(guard);
    let out_of_memory = code != 0 && killed.is_none() && limits.memory.is_some() && {
        let docker = shared.docker().await?;
        let inspected = docker
            .inspect_container(&container.id, None::<InspectContainerOptions>)
            .await
            .map_err(failed("cannot look at the step's container"))?;
        inspected.state.and_then(|state| state.oom_killed) == Some(true)
    };
    if out_of_memory {
        killed = Some(KillReason::OutOfMemory);
        notes.push(format!(
            "stopped: it needed more memory than its limit of {} bytes",
            limits.memory.unwrap_or_default()
        ));
    }
    Ok(ExecOutcome {
        status: ended_by(code, killed),
        killed,
        notes,
    })
}

/// A command that we ended was ended by a signal, whatever its shell made of that.
pub(super) fn ended_by(code: i64, killed: Option<KillReason>) -> ExitStatus {
    match (killed, i32::try_from(code).unwrap_or(255)) {
        (Some(_), 0 | 137) => ExitStatus::Signal(9),
        (_, code) => ExitStatus::Code(code),
    }
}

/// Says that the machine's own command has ended, however that is left.
struct Ending<'a>(&'a Container);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.set_running(false);
    }
}

/// What became of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It came to its end.
    All,
    /// Nobody listens any more.
    Stopped,
}

/// Hands on what a command says, in pieces.
pub(super) async fn pump(
    from: &mut (impl Stream<Item = std::result::Result<LogOutput, Error>> + Unpin),
    to: &mpsc::Sender<OutputChunk>,
) -> Result<Heard> {
    while let Some(piece) = from.next().await {
        let (stream, mut bytes) = match piece.map_err(failed("cannot read the command's output"))? {
            LogOutput::StdErr { message } => (OutputStream::Stderr, message),
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                (OutputStream::Stdout, message)
            }
        };
        while !bytes.is_empty() {
            let chunk = OutputChunk {
                stream,
                bytes: bytes.split_to(bytes.len().min(CHUNK)),
            };
            if to.send(chunk).await.is_err() {
                return Ok(Heard::Stopped);
            }
        }
    }
    Ok(Heard::All)
}

/// Waits until a container has ended, and returns its exit code.
pub(super) async fn wait(shared: &Shared, id: &str) -> Result<i64> {
    let docker = shared.docker().await?;
    let options = WaitContainerOptions {
        condition: "not-running".into(),
    };
    let mut ended = Box::pin(docker.wait_container(id, Some(options)));
    match ended.next().await {
        Some(Ok(ended)) => Ok(ended.status_code),
        Some(Err(Error::DockerContainerWaitError { error, code })) if error.is_empty() => Ok(code),
        Some(Err(error)) => Err(failed("cannot wait for the step's container")(error)),
        None => Err(VmError::Other(
            "the engine went away while a command ran; see its log".into(),
        )),
    }
}
