//! `hm shell`: a shell where a step ended, or where it began.

mod attach;
mod pipe;
mod place;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use hm_source::{Source, SourceOptions};
use hm_vm::{ExecRequest, PlanPaths, Vm};

use crate::backend::{self, Machines};
use crate::cli::ShellArgs;
use crate::config::Config;
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::secrets;
use place::{Place, Start};

/// Bash without the user's start-up files, so that the prompt stays; else what every image has.
const INTERACTIVE: &str =
    "if command -v bash >/dev/null 2>&1; then exec bash --noprofile --norc -i; else exec sh -i; fi";

/// Opens a shell, or runs a command, in a step's snapshot, and tells its exit code.
///
/// # Errors
/// When there is no such step or snapshot, or it cannot be entered.
pub fn shell(context: &Context, args: &ShellArgs) -> Result<u8> {
    let mut config = context.config()?;
    let place = place::find(context, &args.target)?;
    config.backend = place.backend.or(config.backend);
    config.platform = place.platform.clone().or(config.platform);
    let machines = Machines::new(context, &config)?;
    let runtime = super::runtime()?;
    let code = runtime.block_on(enter(context, args, &config, &machines, &place));
    runtime.shutdown_background();
    code
}

async fn enter(
    context: &Context,
    args: &ShellArgs,
    config: &Config,
    machines: &Machines,
    place: &Place,
) -> Result<u8> {
    let vm = machines.vm();
    let registry = machines.registry(config)?;
    // Held until the shell ends, so that no cleaning takes the snapshot away under it.
    let lease = registry.lease()?;
    let mut machine = match &place.start {
        Start::Snapshot(snapshot) => {
            if !lease.pin(snapshot)? {
                return Err(Failure::Vm(hm_vm::VmError::SnapshotNotFound(snapshot.clone())));
            }
            vm.restore(snapshot).await?
        }
        Start::Image(image) => {
            let image = place
                .images
                .of_plan(image, &place.repo_root, PlanPaths::WithinSource)?;
            vm.create(&vm.resolve(&image).await?).await?
        }
        Start::DefaultImage => vm.create(&vm.resolve(&vm.default_image()).await?).await?,
    };
    machine.inject(source(context, args, config, place)?).await?;
    let code = converse(context, args, config, place, machine.as_mut()).await;
    machine.destroy().await?;
    vm.shutdown().await;
    code
}

async fn converse(
    context: &Context,
    args: &ShellArgs,
    config: &Config,
    place: &Place,
    machine: &mut dyn Vm,
) -> Result<u8> {
    let on_terminal = context.environment.stdin_tty && context.environment.stdout_tty;
    let argv = match (args.command.is_empty(), on_terminal) {
        (false, _) => args.command.clone(),
        (true, true) => vec!["sh".into(), "-c".into(), INTERACTIVE.into()],
        (true, false) => {
            let mut script = String::new();
            std::io::stdin()
                .read_to_string(&mut script)
                .map_err(Failure::io("cannot read", "standard input"))?;
            vec!["sh".into(), "-c".into(), script]
        }
    };
    let request = ExecRequest {
        argv,
        env: variables(context, place, on_terminal),
        cwd: PathBuf::from("/workspace"),
        network: config.network,
        secrets: secrets(context, args, place)?,
        ..ExecRequest::shell("")
    };
    if on_terminal {
        context.printer.note(&format!(
            "{} of run {}; exit to leave",
            place.label,
            place.run.short_id()
        ));
        attach::run(machine, &request).await
    } else {
        pipe::run(machine, &request).await
    }
}

/// The step's secrets, had anew. One that is not to be had does not keep anybody out.
fn secrets(context: &Context, args: &ShellArgs, place: &Place) -> Result<hm_vm::Secrets> {
    let mut flags = place.secret_flags.clone();
    flags.extend(secrets::parse_flags(&args.secrets.secret, &context.environment)?);
    let resolved = secrets::resolve(context, &place.repo_root, &place.secrets, &flags)?;
    for wanted in &place.secrets {
        if !resolved.values.contains_key(&wanted.name) {
            context
                .printer
                .warning(&format!("the shell does not have the secret `{}`", wanted.name));
        }
    }
    Ok(hm_exec::local::give_secrets(&place.secrets, &resolved.values))
}

fn variables(context: &Context, place: &Place, on_terminal: bool) -> BTreeMap<String, String> {
    let mut env = place.env.clone();
    if on_terminal {
        env.insert("PS1".into(), format!("[hm {}] \\w \\$ ", place.label));
        if let Some(term) = context.environment.get(crate::env_vars::TERM) {
            env.insert("TERM".into(), term.to_owned());
        }
    }
    env
}

/// The source that the run saw, or today's where that is gone or asked for.
fn source(context: &Context, args: &ShellArgs, config: &Config, place: &Place) -> Result<Arc<Source>> {
    let store = backend::sources(context, config);
    let vm_error = |error| Failure::Vm(hm_vm::VmError::Source(error));
    if let Some(id) = place.source_id.as_deref().filter(|_| !args.today) {
        match store.reopen(id).map_err(vm_error)? {
            Some(source) if place.include_git => return Ok(Arc::new(source)),
            Some(source) => return Ok(Arc::new(source.without_git())),
            None => context
                .printer
                .warning("the source that this run saw is gone; this is today's"),
        }
    }
    let options = SourceOptions {
        include_git: place.include_git,
    };
    Ok(Arc::new(
        store.freeze(&place.repo_root, &options).map_err(vm_error)?,
    ))
}
