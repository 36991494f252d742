//! Which Docker or Podman engine is there, and whether hm can use it.

use super::{Finding, Health};
use crate::backend::find_engine;
use crate::context::Context;

const NAME: &str = "docker";

/// Looks for an engine and asks it who it is.
pub(super) fn look(context: &Context) -> Finding {
    let engine = context
        .config()
        .ok()
        .and_then(|config| find_engine(&context.environment, &config));
    let Some(engine) = engine else {
        return Finding {
            name: NAME.to_owned(),
            status: Health::Absent,
            detail: "no engine of Docker or Podman found; `--backend docker` alone needs one".to_owned(),
            fix: Some(install()),
        };
    };
    if !engine.listens() {
        return Finding {
            name: NAME.to_owned(),
            status: Health::Degraded,
            detail: format!(
                "nobody answers at {} ({}), or not to this user",
                engine.host, engine.from
            ),
            fix: Some(start()),
        };
    }
    Finding {
        name: NAME.to_owned(),
        status: Health::Ok,
        detail: engine.host,
        fix: None,
    }
}

fn install() -> String {
    if cfg!(target_os = "macos") {
        "brew install colima docker && colima start".to_owned()
    } else {
        "sudo apt-get install -y docker.io".to_owned()
    }
}

fn start() -> String {
    if cfg!(target_os = "macos") {
        "colima start".to_owned()
    } else {
        "sudo systemctl start docker; sudo usermod -aG docker $USER".to_owned()
    }
}
