//! Which Docker or Podman engine is there, and whether hm can use it.

use std::sync::Arc;

use hm_docker::DockerBackend;
use hm_vm::VmBackend;

use super::{Finding, Health};
use crate::backend::{docker_config, find_engine};
use crate::config::Config;
use crate::context::Context;
use crate::fail::Result;
use crate::pulls::Pulls;

/// Looks for an engine and asks it who it is.
pub(super) fn look(context: &Context, config: &Config) -> Finding {
    let finding = |status: Health, detail: String, fix: Option<String>| Finding {
        name: "docker".to_owned(),
        status,
        detail,
        fix,
    };
    let Some(engine) = find_engine(&context.environment, config) else {
        let detail = "no engine of Docker or Podman is there; nothing but `--backend docker` needs one";
        return finding(Health::Absent, detail.to_owned(), Some(install().to_owned()));
    };
    match ask(context, config) {
        Ok(()) => finding(Health::Ok, format!("{} ({})", engine.host, engine.from), None),
        Err(failure) => finding(
            Health::Degraded,
            format!("{} ({})", failure.report().message, engine.from),
            Some(start().to_owned()),
        ),
    }
}

fn ask(context: &Context, config: &Config) -> Result<()> {
    let docker = DockerBackend::new(docker_config(context, config, Arc::new(Pulls::new(context))))?;
    Ok(super::super::runtime()?.block_on(docker.ready())?)
}

const fn install() -> &'static str {
    if cfg!(target_os = "macos") {
        "brew install colima docker && colima start"
    } else {
        "sudo apt-get install -y docker.io"
    }
}

const fn start() -> &'static str {
    if cfg!(target_os = "macos") {
        "colima start"
    } else {
        "sudo systemctl start docker"
    }
}
