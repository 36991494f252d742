//! `hm shell`: a shell where a step ended, or where it began, with all that the step had around it.

mod attach;
mod pipe;
mod place;
mod words;

use std::io::Read;
use std::time::Duration;

use hm_exec::local::Reopened;
use hm_vm::{Cancel, ExecRequest};

use crate::backend::Machines;
use crate::cli::ShellArgs;
use crate::config::Config;
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::secret_source;
use crate::secrets::{self, Resolved};
use crate::signals::Signals;
use place::Place;

/// Bash without the user's start-up files, so that the prompt stays; else what every image has.
const INTERACTIVE: &str =
    "if command -v bash >/dev/null 2>&1; then exec bash --noprofile --norc -i; else exec sh -i; fi";

/// How long the end of a shell waits for the removal of what killed runs have left.
const RECLAIMING: Duration = Duration::from_secs(2);

/// Opens a shell, or runs a command, in a step's snapshot, and tells its exit code.
///
/// # Errors
/// When there is no such step or snapshot, or it cannot be entered.
pub fn shell(context: &Context, args: &ShellArgs) -> Result<u8> {
    let mut config = context.config()?;
    let mut place = place::find(context, &args.target)?;
    config.backend = place.backend.or(config.backend);
    config.platform = place.platform.clone().or(config.platform);
    if args.today {
        place.reopen.source_id = None;
    }
    let secrets = find_secrets(context, args, &place)?;
    place.reopen.request.secrets = secrets.values.clone();
    let machines = Machines::new(context, &config)?;
    let runtime = super::runtime()?;
    let code = runtime.block_on(enter(context, args, &config, &machines, place, &secrets));
    runtime.shutdown_background();
    code
}

async fn enter(
    context: &Context,
    args: &ShellArgs,
    config: &Config,
    machines: &Machines,
    place: Place,
    secrets: &Resolved,
) -> Result<u8> {
    let cancel = Cancel::new();
    let mut signals = Signals::take_over().map_err(Failure::io("cannot handle", "Ctrl-C"))?;
    let canceler = cancel.clone();
    let watcher = tokio::spawn(async move {
        signals.next().await;
        canceler.terminate();
        signals.next().await;
        canceler.kill();
    });
    let vm = machines.vm();
    // As every run does; nobody waits for it.
    let reclaiming = {
        let vm = machines.vm();
        tokio::spawn(async move { vm.reclaim().await })
    };
    let services = place.services();
    if !services.is_empty() {
        context.printer.note(&format!(
            "starting what {} needs: {}",
            place.label,
            services.join(", ")
        ));
    }
    let backend = machines.local(context, config);
    let opened = backend.reopen(place.reopen.clone(), &cancel).await;
    let code = match opened {
        Ok(Some(opened)) => {
            let code = converse(context, args, &place, secrets, &opened, &cancel).await;
            let closed = opened.close().await;
            code.and_then(|code| Ok(closed.map(|()| code)?))
        }
        Ok(None) => Err(Failure::Interrupted),
        Err(error) => Err(error.into()),
    };
    if let Ok(Ok(Err(error))) = tokio::time::timeout(RECLAIMING, reclaiming).await {
        tracing::warn!(%error, "what killed runs have left could not be removed");
    }
    vm.shutdown().await;
    watcher.abort();
    code
}

async fn converse(
    context: &Context,
    args: &ShellArgs,
    place: &Place,
    secrets: &Resolved,
    opened: &Reopened,
    cancel: &Cancel,
) -> Result<u8> {
    let on_terminal = context.environment.stdin_tty && context.environment.stdout_tty;
    let is_interactive = on_terminal && args.command.is_empty();
    let argv = match (args.command.is_empty(), on_terminal) {
        (false, _) => args.command.clone(),
        (true, true) => interactive(place),
        (true, false) => {
            let mut script = String::new();
            std::io::stdin()
                .read_to_string(&mut script)
                .map_err(Failure::io("cannot read", "standard input"))?;
            opened.script(&script)
        }
    };
    for line in words::surroundings(place, secrets, opened, is_interactive, args.today) {
        context.printer.note(&line);
    }
    if let Some(why) = opened.unready() {
        context.printer.warning(&why);
    }
    let mut request = ExecRequest {
        argv,
        ..opened.exec().clone()
    };
    if on_terminal {
        terminal_variables(context, place, &mut request);
        // Interactive shells handle SIGTERM by ignoring it.
        request.grace = Duration::ZERO;
        attach::run(opened.machine(), &request, cancel).await
    } else {
        pipe::run(opened.machine(), &request, cancel).await
    }
}

/// The step's own shell, to type into. `sh` gives way to bash where there is one: few have line editing.
fn interactive(place: &Place) -> Vec<String> {
    let words: &[&str] = match place.shell_program() {
        "bash" => &["bash", "--noprofile", "--norc", "-i"],
        "sh" => &["sh", "-c", INTERACTIVE],
        other => &[other, "-i"],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The step's secrets, found anew. One that cannot be found keeps nobody out.
fn find_secrets(context: &Context, args: &ShellArgs, place: &Place) -> Result<Resolved> {
    let mut flags = place.secret_flags.clone();
    flags.extend(secret_source::parse_flags(
        &args.secrets.secret,
        &context.environment,
    )?);
    let root = &place.reopen.request.repo_root;
    secrets::resolve(context, root, &place.secrets, &flags)
}

fn terminal_variables(context: &Context, place: &Place, request: &mut ExecRequest) {
    request
        .env
        .insert("PS1".into(), format!("[hm {}] \\w \\$ ", place.label));
    if let Some(term) = context.environment.get(crate::env_vars::TERM) {
        request.env.insert("TERM".into(), term.to_owned());
    }
}
