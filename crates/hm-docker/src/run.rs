//! Running a machine's own command: its container starts with it and ends with it.

use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::{AttachContainerOptions, StartContainerOptions, WaitContainerOptions};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::container::{Container, no_shell, not_started};
use super::disk;
use super::engine::{failed, gone};
use super::script;
use super::shared::Shared;
use hm_vm::{
    Cancel, ExecOutcome, ExecRequest, ExitStatus, KillReason, OutputChunk, Result, Stream as OutputStream,
};

/// The longest chunk of output.
const CHUNK: usize = 64 * 1024;

/// How long the last words of a command that was killed are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

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

/// What became of starting a container.
pub(super) enum Start {
    Started(Box<Started>),
    /// There is no shell in it (any more) that could run a command; this is what the command's caller is given.
    NoShell(ExecOutcome),
}

/// Starts a container's shell program, with its ends in our hands from the first byte.
pub(super) async fn start(shared: &Shared, container: &Arc<Container>) -> Result<Start> {
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
    match docker
        .start_container(&container.id, None::<StartContainerOptions>)
        .await
    {
        Ok(()) => {}
        Err(error) if no_shell(&error) => {
            return Ok(Start::NoShell(ExecOutcome {
                status: ExitStatus::Code(127),
                killed: None,
                notes: vec!["there is no `sh` in its image, or a step removed it".into()],
            }));
        }
        Err(error) => return Err(not_started(error)),
    }
    container.set_running(true);
    Ok(Start::Started(Box::new(Started {
        container: container.clone(),
        output: attached.output,
        input: attached.input,
    })))
}

/// Why a command is to end before it does by itself.
enum Stop {
    /// Its caller terminates it.
    Terminated,
    /// It is to end at once, for this reason.
    Killed(KillReason),
}

/// Sees a started command to its end: gives it its line, takes what it says, ends it when it is to end.
pub(super) async fn drive(
    shared: &Shared,
    started: Started,
    line: &[u8],
    request: &ExecRequest,
    output: &mpsc::Sender<OutputChunk>,
    cancel: &Cancel,
) -> Result<ExecOutcome> {
    let Started {
        container,
        output: mut said,
        input,
    } = started;
    request.start.mark();
    let guard = Ending(&container);
    let (mut killed, mut notes) = (None, Vec::new());
    let (orders, ordered) = mpsc::channel::<&'static [u8]>(1);
    // It holds the connection open as the output does: an engine that has something to say to it does not end a container.
    let mut fed = Some(Box::pin(feed(input, line, ordered)));
    let watch = disk::watch(shared, &container, request);
    let ended = async {
        let heard = pump(&mut said, output).await;
        drop(said);
        match heard {
            Ok(Heard::All) => wait(shared, &container.id).await.map(Some),
            Ok(Heard::Stopped) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let grace = tokio::time::sleep(Duration::MAX);
    tokio::pin!(watch, grace);
    let mut ended = Box::pin(ended);
    let mut nobody_listens = false;
    let code = loop {
        let terminated = killed.is_some();
        let stop = tokio::select! {
            biased;
            code = &mut ended => match code {
                Ok(Some(code)) => break Ok(Some(code)),
                Ok(None) => {
                    nobody_listens = true;
                    fed = None;
                    Stop::Killed(KillReason::Canceled)
                }
                Err(error) => break Err(error),
            },
            () = held(fed.as_mut()) => continue,
            () = cancel.killed() => Stop::Killed(KillReason::Canceled),
            () = cancel.terminated(), if !terminated => Stop::Terminated,
            () = &mut grace => Stop::Killed(KillReason::Canceled),
            note = &mut watch => {
                notes.push(note);
                Stop::Killed(KillReason::DiskFull)
            }
        };
        match stop {
            Stop::Terminated if !request.grace.is_zero() => {
                // One that has ended meanwhile, while this process was suspended perhaps, has not been ended by us.
                if !container.still_runs(shared).await? {
                    break Ok(None);
                }
                killed = Some(KillReason::Canceled);
                let _ = orders.try_send(script::TERMINATE);
                grace.as_mut().reset(tokio::time::Instant::now() + request.grace);
            }
            Stop::Terminated => {
                if container.kill(shared).await? {
                    killed = Some(KillReason::Canceled);
                }
                break Ok(None);
            }
            Stop::Killed(reason) => {
                if container.kill(shared).await? {
                    killed = killed.or(Some(reason));
                }
                break Ok(None);
            }
        }
    };
    let code = match code {
        Ok(Some(code)) => code,
        Ok(None) if nobody_listens => {
            drop(ended);
            wait(shared, &container.id).await?
        }
        Ok(None) => {
            // What was said last is handed on, for as long as anybody takes it.
            let last = tokio::time::timeout(LAST_WORDS, &mut ended).await;
            drop((ended, fed));
            match last {
                Ok(Ok(Some(code))) => code,
                _ => wait(shared, &container.id).await?,
            }
        }
        Err(error) => {
            drop((ended, fed));
            container.kill(shared).await?;
            return Err(error);
        }
    };
    drop(guard);
    let out_of_memory = code != 0
        && killed.is_none()
        && request.limits.memory.is_some()
        && container.ran_out_of_memory(shared).await?;
    if out_of_memory {
        killed = Some(KillReason::OutOfMemory);
        notes.push(format!(
            "stopped: it needed more memory than its limit of {} bytes",
            request.limits.memory.unwrap_or_default()
        ));
    }
    Ok(ExecOutcome {
        status: ended_by(code, killed),
        killed,
        notes,
    })
}

/// Writes a command's line, and then what it is ordered to do. The input stays open: at its end the command is killed.
async fn feed(mut input: impl AsyncWrite + Unpin, line: &[u8], mut orders: mpsc::Receiver<&'static [u8]>) {
    // Whoever ends before it has read its line says why itself.
    let _ = input.write_all(line).await;
    let _ = input.flush().await;
    while let Some(order) = orders.recv().await {
        let _ = input.write_all(order).await;
        let _ = input.flush().await;
    }
    std::future::pending().await
}

/// Waits for what is fed, for ever where that has been given up.
async fn held(fed: Option<&mut (impl Future<Output = ()> + Unpin)>) {
    match fed {
        Some(fed) => fed.await,
        None => std::future::pending().await,
    }
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
    loop {
        let piece = tokio::select! {
            biased;
            piece = from.next() => piece,
            () = to.closed() => return Ok(Heard::Stopped),
        };
        let Some(piece) = piece else { return Ok(Heard::All) };
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
        None => Err(gone("while a command ran")),
    }
}
