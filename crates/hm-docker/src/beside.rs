//! A command that runs while its machine's own command does, in the same container: a health check.

use std::sync::Arc;
use std::time::Duration;

use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::container::{Container, not_started};
use super::engine::{failed, status};
use super::run::{self, Heard};
use super::script;
use super::shared::Shared;
use hm_vm::{Cancel, ExecOutcome, ExecRequest, KillReason, OutputChunk, Result, VmError};

/// How often an ended command is asked for its exit code.
const AGAIN: Duration = Duration::from_millis(10);

/// The line of a command that is not to begin any more.
const GIVE_UP: &[u8] = b"exit 125\n";

/// How often a container is looked at that may be about to end.
const ENDING: usize = 50;

/// Runs it. Nothing: the machine's own command ended before this one began, and nothing was run.
pub(super) async fn run(
    shared: &Shared,
    container: &Arc<Container>,
    request: &ExecRequest,
    output: &mpsc::Sender<OutputChunk>,
    cancel: &Cancel,
) -> Result<Option<ExecOutcome>> {
    let docker = shared.docker().await?;
    if !request.secrets.files.is_empty() {
        return Err(VmError::Unsupported {
            what: "a command with secret files beside another one of the same machine".into(),
            reason: "both would see them in a container of Docker's; hand it over as a variable".into(),
        });
    }
    let id = Uuid::now_v7().simple().to_string();
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(script::beside_program(&id)),
        user: Some(request.user.clone().unwrap_or_else(|| "0:0".into())),
        ..ExecConfig::default()
    };
    let exec = match docker.create_exec(&container.id, config).await {
        Ok(exec) => exec.id,
        // The container does not run.
        Err(error) if matches!(status(&error), Some(404 | 409)) => return Ok(None),
        Err(error) => return Err(not_started(error)),
    };
    let started = docker.start_exec(&exec, None::<StartExecOptions>).await;
    let (mut said, mut input) = match started {
        Ok(StartExecResults::Attached { output, input }) => (output, input),
        Ok(StartExecResults::Detached) => return Err(silent()),
        Err(error) if matches!(status(&error), Some(404 | 409)) => return Ok(None),
        Err(_) if ends(shared, container).await? => return Ok(None),
        Err(error) => return Err(not_started(error)),
    };
    let line = script::line(request, &[])?;
    let mut killed = None;
    {
        let first = async {
            // Its program says first whether it runs; the rest of that piece is the command's.
            match said.next().await {
                Some(Ok(piece)) => Some(piece),
                _ => None,
            }
        };
        let Some(first) = first.await else {
            return if ends(shared, container).await? {
                Ok(None)
            } else {
                Err(silent())
            };
        };
        let mut first = first.into_bytes();
        match first.first() {
            Some(&script::RUNS) => {}
            Some(&script::TOO_LATE) => return Ok(None),
            // The engine's words, for it could not begin.
            _ if ends(shared, container).await? => return Ok(None),
            _ => {
                let words = String::from_utf8_lossy(&first).into_owned();
                return Err(VmError::Setup(words));
            }
        }
        drop(first.split_to(1));
        let told = async {
            let _ = input.write_all(&line).await;
            let _ = input.flush().await;
            std::future::pending::<()>().await;
        };
        let heard = run::pump(&mut said, output);
        tokio::pin!(told, heard);
        let stopped = tokio::select! {
            heard = &mut heard => heard? == Heard::Stopped,
            () = &mut told => false,
            () = cancel.terminated() => true,
            () = output.closed() => true,
        };
        if stopped {
            killed = Some(KillReason::Canceled);
        }
    }
    if killed.is_some() {
        // Its program may still wait for its line, and is not found by the mark of the command's processes.
        let _ = input.write_all(GIVE_UP).await;
        let _ = input.flush().await;
        sweep(shared, container, &id).await?;
    }
    loop {
        let inspected = docker
            .inspect_exec(&exec)
            .await
            .map_err(failed("cannot look at the command"))?;
        if inspected.running != Some(true) {
            let code = inspected.exit_code.unwrap_or(137);
            return Ok(Some(ExecOutcome {
                status: run::ended_by(code, killed),
                killed,
                notes: Vec::new(),
            }));
        }
        if killed.is_none() && cancel.is_terminated() {
            killed = Some(KillReason::Canceled);
            sweep(shared, container, &id).await?;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Ends all processes of a command.
async fn sweep(shared: &Shared, container: &Container, id: &str) -> Result<()> {
    let docker = shared.docker().await?;
    let config = ExecConfig {
        cmd: Some(vec!["sh".into(), "-c".into(), script::sweep(id)]),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        user: Some("0:0".into()),
        ..ExecConfig::default()
    };
    let swept = async {
        let exec = docker.create_exec(&container.id, config).await?.id;
        if let StartExecResults::Attached { mut output, .. } =
            docker.start_exec(&exec, None::<StartExecOptions>).await?
        {
            while output.next().await.is_some() {}
        }
        Ok(())
    };
    match swept.await {
        // Its container has ended, and all in it.
        Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
        swept => swept.map_err(failed("cannot end the command")),
    }
}

/// Whether the machine's own command is about to end or has ended, so that nothing can begin beside it. An engine refuses
/// that in many ways, and some moments before it says that a container has ended.
async fn ends(shared: &Shared, container: &Container) -> Result<bool> {
    for _ in 0..ENDING {
        if !container.is_running() || !container.still_runs(shared).await? {
            return Ok(true);
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(false)
}

fn silent() -> VmError {
    VmError::Other("the engine did not run the command and does not say why; see its log".into())
}
