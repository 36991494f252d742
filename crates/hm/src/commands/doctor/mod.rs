//! `hm doctor`: what this machine can run, and the command that mends what it cannot.

mod engine;
mod logins;

use std::path::Path;
use std::sync::Arc;

use hm_sandbox::doctor;
use serde::Serialize;

use super::table;
use crate::backend::sandbox_config;
use crate::context::Context;
use crate::env_vars;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::pulls::Pulls;
use crate::repository;

/// How well something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Ok,
    /// Not there, and not needed.
    Absent,
    Degraded,
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    status: Health,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl From<doctor::Finding> for Finding {
    fn from(found: doctor::Finding) -> Self {
        let status = match found.status {
            doctor::Status::Ok => Health::Ok,
            doctor::Status::Degraded => Health::Degraded,
            doctor::Status::Missing => Health::Missing,
        };
        Self {
            name: found.name,
            status,
            detail: found.detail,
            fix: found.fix,
        }
    }
}

/// How many findings are not the sandbox's: they come first.
const OURS: usize = 2;

/// Tells what this machine can run. The exit code is 1 when something that every build needs is missing.
///
/// # Errors
/// When the output cannot be written.
pub fn doctor(context: &Context, json: bool) -> Result<u8> {
    let mut findings = vec![python(context), data_dir(context)];
    if let Ok(config) = context.config() {
        findings.extend(
            doctor::check(&sandbox_config(context, &config, Arc::new(Pulls::new(context))))
                .into_iter()
                .map(Finding::from),
        );
        let engine = engine::look(context, &config);
        // Where the sandbox cannot be, an engine will do.
        if engine.status == Health::Ok {
            for finding in findings.iter_mut().skip(OURS) {
                if finding.status == Health::Missing {
                    finding.status = Health::Degraded;
                    finding.detail.push_str("; builds run on docker");
                }
            }
        }
        findings.push(engine);
    }
    findings.extend(logins::look(context));
    let text = if json {
        let text = serde_json::to_string_pretty(&findings).map_err(|error| Failure::Output(error.into()))?;
        text + "\n"
    } else {
        as_text(&findings)
    };
    context.printer.data(&text).map_err(Failure::Output)?;
    let broken = findings.iter().any(|finding| finding.status == Health::Missing);
    Ok(if broken { exit::FAILED } else { exit::PASSED })
}

fn as_text(findings: &[Finding]) -> String {
    let mut rows = Vec::new();
    for finding in findings {
        let word = match finding.status {
            Health::Ok => "ok",
            Health::Absent => "absent",
            Health::Degraded => "degraded",
            Health::Missing => "missing",
        };
        let row = |first: &str, second: &str, third: &str| {
            vec![first.to_owned(), second.to_owned(), third.to_owned()]
        };
        rows.push(row(word, &finding.name, &finding.detail));
        rows.extend(
            finding
                .fix
                .iter()
                .map(|fix| row("", "", &format!("mend it: {fix}"))),
        );
    }
    table::columns(&rows)
}

/// Python renders `.hm/*.py`; without one `hm run --plan` still works.
fn python(context: &Context) -> Finding {
    let probe = "import sys; print('.'.join(map(str, sys.version_info[:3])))";
    let version = |python: &Path| {
        let mut command = std::process::Command::new(python);
        let output = command.args(["-c", probe]).current_dir("/").output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some((version, python.to_owned()))
    };
    // The one that runs pipelines: the first that is new enough, or else the first.
    let path = context.environment.get(env_vars::PATH);
    let all = hm_dsl::python_candidates(path);
    let mut found = all.iter().filter_map(|python| version(python)).peekable();
    let first = found.peek().cloned();
    let version = found.find(|(version, _)| is_new_enough(version)).or(first);
    let fix = || Some("sudo apt-get install -y python3".to_owned());
    let name = "python3".to_owned();
    match version {
        Some((version, python)) if is_new_enough(&version) => Finding {
            name,
            status: Health::Ok,
            detail: format!("{version} ({}), runs .hm/*.py", python.display()),
            fix: None,
        },
        found => {
            let uses_python = context.maybe_root().is_some_and(repository::has_python_pipeline);
            Finding {
                name,
                status: if uses_python {
                    Health::Missing
                } else {
                    Health::Degraded
                },
                detail: match found {
                    Some((version, python)) => format!(
                        "{version} ({}) is too old for .hm/*.py: 3.9 is needed",
                        python.display()
                    ),
                    None => "not found: .hm/*.py cannot be run, --plan can".to_owned(),
                },
                fix: fix(),
            }
        }
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    matches!((parts.next(), parts.next()), (Some(major), Some(minor)) if (major, minor) >= (3, 9))
}

fn data_dir(context: &Context) -> Finding {
    let name = "data directory".to_owned();
    let missing = |detail: String, fix: Option<String>| Finding {
        name: "data directory".to_owned(),
        status: Health::Missing,
        detail,
        fix,
    };
    let config = match context.config() {
        Ok(config) => config,
        Err(failure) => {
            let report = failure.report();
            return missing(report.message, report.hints.into_iter().next());
        }
    };
    let path = config.data_dir;
    let probe = path.join(format!(".doctor-{}", std::process::id()));
    let written = std::fs::create_dir_all(&path).and_then(|()| std::fs::write(&probe, "probe"));
    let _ = std::fs::remove_file(&probe);
    match written {
        Ok(()) => Finding {
            name,
            status: Health::Ok,
            detail: path.display().to_string(),
            fix: None,
        },
        Err(error) => missing(
            format!("cannot write {}: {error}", path.display()),
            Some("export HM_DATA_DIR=/a/directory/of/yours".to_owned()),
        ),
    }
}
