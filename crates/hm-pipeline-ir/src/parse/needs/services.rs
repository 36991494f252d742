//! `services`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Field;
use crate::parse::wire::{WireHealth, WireService};
use crate::parse::{checks, json};
use crate::{HealthCheck, PlanError, Service, ServiceScope, StepKey};

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(60);

/// A shorter interval would keep a core busy with the check alone.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(3600);

pub fn services(step: &StepKey, wire: Vec<WireService>) -> Result<Vec<Service>, PlanError> {
    let field = Field {
        step,
        name: "services",
    };
    field.check_count(wire.len())?;
    let mut names = BTreeSet::new();
    wire.into_iter()
        .map(|wire| {
            let service = service(field, wire)?;
            // Host names do not tell letters by their case.
            if !names.insert(service.name.to_ascii_lowercase()) {
                return Err(field.bad(format!(
                    "two services are called `{}`: give one of them another name",
                    service.name
                )));
            }
            Ok(service)
        })
        .collect()
}

fn service(field: Field<'_>, wire: WireService) -> Result<Service, PlanError> {
    if let Some(reason) = wrong_host_name(&wire.name) {
        return Err(field.bad(format!(
            "the service {:?} {reason}: its name is its host name too",
            json::cut(&wire.name)
        )));
    }
    let bad = |reason: &str| field.bad(format!("the service `{}` {reason}", wire.name));
    if let Some(image) = &wire.image {
        checks::check_image(image).map_err(|reason| bad(&format!("has a wrong `image`: {reason}")))?;
    }
    match &wire.cmd {
        Some(cmd) => check_command(cmd, "cmd").map_err(|reason| bad(&reason))?,
        None if wire.image.is_none() => {
            return Err(bad(
                "has neither a `cmd` nor an `image` with a command of its own: give it one of them",
            ));
        }
        None => {}
    }
    let shell = checks::shell(wire.shell.as_deref())
        .map_err(|reason| bad(&format!("has a wrong `shell`: {reason}")))?;
    let env = wire.env.unwrap_or_default();
    // An image's own command is run without a shell.
    let dropped = || {
        let runs_by_shell = wire.cmd.is_some();
        runs_by_shell
            .then(|| checks::dropped_variable(&env, shell.as_ref()))
            .flatten()
    };
    if let Some((variable, reason)) = checks::wrong_variable(&env).or_else(dropped) {
        let variable = json::cut(variable);
        return Err(bad(&format!(
            "has the environment variable {variable:?}, {reason}"
        )));
    }
    let scope = match wire.scope.as_deref() {
        None => ServiceScope::default(),
        Some("step") => ServiceScope::Step,
        Some("chain") => ServiceScope::Chain,
        Some(other) => {
            let other = json::cut(other);
            return Err(bad(&format!(
                "has the scope {other:?}, which is neither \"step\" nor \"chain\""
            )));
        }
    };
    let health = wire
        .health
        .map(health)
        .transpose()
        .map_err(|reason| bad(&reason))?;
    Ok(Service {
        name: wire.name,
        image: wire.image,
        cmd: wire.cmd,
        shell,
        env,
        health,
        scope,
    })
}

fn health(wire: WireHealth) -> Result<HealthCheck, String> {
    check_command(&wire.cmd, "health.cmd")?;
    Ok(HealthCheck {
        interval: duration(wire.interval_seconds, "interval_seconds", INTERVAL)?,
        timeout: duration(wire.timeout_seconds, "timeout_seconds", TIMEOUT)?,
        cmd: wire.cmd,
    })
}

fn duration(seconds: Option<f64>, name: &str, default: Duration) -> Result<Duration, String> {
    let Some(seconds) = seconds else {
        return Ok(default);
    };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| (SHORTEST..=LONGEST).contains(duration))
        .ok_or_else(|| {
            format!(
                "has a health check whose `{name}` is {seconds}: it has to be from {} to {} seconds",
                SHORTEST.as_secs_f64(),
                LONGEST.as_secs()
            )
        })
}

fn check_command(command: &str, name: &str) -> Result<(), String> {
    if command.trim().is_empty() {
        Err(format!(
            "has an empty `{name}`: leave the field out, or say what to run"
        ))
    } else if command.contains('\0') {
        Err(format!(
            "has a NUL character in its `{name}`, which cannot be given to a shell"
        ))
    } else {
        Ok(())
    }
}

fn wrong_host_name(name: &str) -> Option<&'static str> {
    let letters = |label: &str| label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let last = name.rsplit('.').next().unwrap_or_default();
    if name.is_empty() {
        Some("has an empty name")
    } else if name.len() > 253 {
        Some("has a name longer than 253 bytes")
    } else if !name.split('.').all(letters) {
        Some("has a name with other characters than letters, digits, `-` and `.`")
    } else if name.split('.').any(|label| label.is_empty() || label.len() > 63) {
        Some("has a name with a part between dots that is empty or longer than 63 bytes")
    } else if name
        .split('.')
        .any(|label| label.starts_with('-') || label.ends_with('-'))
    {
        Some("has a name with a part that begins or ends with `-`")
    } else if last.chars().all(|c| c.is_ascii_digit()) {
        Some("has a name whose last part is a number, as an address has")
    } else if last.eq_ignore_ascii_case("localhost") {
        Some("has the name of the machine itself")
    } else {
        None
    }
}
