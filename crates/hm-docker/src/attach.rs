//! A command on a terminal, for a person.

use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

use super::container::not_started;
use super::engine::failed;
use super::run::{self, Started};
use super::script::{self, Copy};
use super::shared::Shared;
use hm_vm::{
    Cancel, ExecOutcome, ExecRequest, KillReason, Result, Terminal, TerminalInput, TerminalSize, VmError,
};

/// Runs a command on a terminal in a container that does nothing else meanwhile, and ends the container.
pub(super) async fn attach(
    shared: &Shared,
    mut started: Started,
    request: &ExecRequest,
    copies: &[Copy],
    terminal: Terminal,
    cancel: &Cancel,
) -> Result<ExecOutcome> {
    let container = started.container.clone();
    let line = script::holding_line(request, copies)?;
    let ran = async {
        let told = started.input_mut().write_all(&line).await;
        told.map_err(|error| VmError::Other(format!("cannot reach the step's container: {error}")))?;
        relay(shared, &container.id, request, terminal, cancel).await
    };
    let outcome = ran.await;
    container.kill(shared).await?;
    run::wait(shared, &container.id).await?;
    container.set_running(false);
    outcome
}

async fn relay(
    shared: &Shared,
    container: &str,
    request: &ExecRequest,
    terminal: Terminal,
    cancel: &Cancel,
) -> Result<ExecOutcome> {
    let docker = shared.docker().await?;
    let mut env: Vec<String> = request
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    for (name, value) in &request.secrets.env {
        env.push(format!("{name}={}", String::from_utf8_lossy(value.expose())));
    }
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(true),
        env: Some(env),
        cmd: Some(request.argv.clone()),
        user: Some(request.user.clone().unwrap_or_else(|| "0:0".into())),
        working_dir: Some(request.cwd.to_string_lossy().into_owned()),
        ..ExecConfig::default()
    };
    let exec = docker
        .create_exec(container, config)
        .await
        .map_err(not_started)?
        .id;
    let options = StartExecOptions {
        tty: true,
        ..StartExecOptions::default()
    };
    let started = docker
        .start_exec(&exec, Some(options))
        .await
        .map_err(not_started)?;
    let StartExecResults::Attached {
        output: mut screen,
        input: mut keys,
    } = started
    else {
        return Err(VmError::Other("the engine gives no terminal".into()));
    };
    let Terminal {
        size,
        mut input,
        output,
    } = terminal;
    let resize = |size: TerminalSize| {
        let options = ResizeExecOptions {
            height: size.rows,
            width: size.columns,
        };
        docker.resize_exec(&exec, options)
    };
    // A terminal of another size is no reason to end.
    let _ = resize(size).await;
    let mut killed = None;
    let mut typing = true;
    loop {
        tokio::select! {
            drawn = screen.next() => {
                let Some(drawn) = drawn else { break };
                let drawn = drawn.map_err(failed("cannot read the terminal"))?;
                if output.send(drawn.into_bytes()).await.is_err() {
                    killed = Some(KillReason::Canceled);
                    break;
                }
            }
            typed = input.recv(), if typing => match typed {
                Some(TerminalInput::Bytes(bytes)) => {
                    typing = keys.write_all(&bytes).await.is_ok() && keys.flush().await.is_ok();
                }
                Some(TerminalInput::Resize(size)) => {
                    let _ = resize(size).await;
                }
                None => typing = false,
            },
            () = cancel.terminated() => {
                killed = Some(KillReason::Canceled);
                break;
            }
        }
    }
    let inspected = docker
        .inspect_exec(&exec)
        .await
        .map_err(failed("cannot look at the command"))?;
    let code = inspected.exit_code.unwrap_or(137);
    Ok(ExecOutcome {
        status: run::ended_by(code, killed),
        killed,
        notes: Vec::new(),
    })
}
