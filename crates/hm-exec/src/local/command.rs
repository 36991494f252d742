//! A step's command as the arguments of its shell, and what of it the kernel would refuse.

use std::collections::BTreeMap;

use hm_pipeline_ir::{PipelineGraph, Shell};

use crate::{BackendError, Result};

/// Linux takes no argument and no variable of 128 KiB or more; a longer command goes in pieces.
const PIECE: usize = 96 * 1024;
/// Arguments and environment together have 2 MiB.
const LONGEST: usize = 1024 * 1024;
/// A variable's `NAME=VALUE`, without the NUL at its end.
const LONGEST_VARIABLE: usize = 128 * 1024 - 1;

/// Puts the pieces together again; the command sees nothing of it.
const JOIN: &str = "__hm=; for __hm_piece do __hm=$__hm$__hm_piece; done; set --\n\
                    eval \"unset __hm __hm_piece\n$__hm\"";

/// The arguments that run `command`: `SHELL... -c -- COMMAND` wherever it fits. Behind `--` a command may begin with `-`.
pub(super) fn argv(shell: Option<&Shell>, command: &str) -> Vec<String> {
    let program = shell.map_or("sh", Shell::program);
    let mut argv: Vec<String> = match shell {
        Some(shell) => shell.words().map(str::to_owned).collect(),
        None => vec![program.into()],
    };
    argv.extend(["-c", "--"].map(Into::into));
    if command.len() <= PIECE {
        argv.push(command.into());
        return argv;
    }
    argv.extend([JOIN, program].map(Into::into));
    let mut rest = command;
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rest.floor_char_boundary(PIECE));
        argv.push(piece.into());
        rest = more;
    }
    argv
}

/// Refuses a step or a service whose command or environment no program could be given.
pub(super) fn check(graph: &PipelineGraph, run_env: &BTreeMap<String, String>) -> Result<()> {
    for (_, step) in graph.steps() {
        let who = format!("step `{}`", step.key);
        check_command(&who, &step.cmd)?;
        let own = step.env.iter().filter(|(name, _)| !run_env.contains_key(*name));
        check_environment(&who, own.chain(run_env))?;
        check_names(&who, step.shell.as_ref(), run_env)?;
        for service in &step.services {
            let who = format!("service `{}` of {who}", service.name);
            let health = service.health.as_ref().map(|health| &health.cmd);
            for cmd in service.cmd.iter().chain(health) {
                check_command(&who, cmd)?;
            }
            check_environment(&who, service.env.iter())?;
        }
    }
    Ok(())
}

fn check_command(who: &str, cmd: &str) -> Result<()> {
    if cmd.len() <= LONGEST {
        return Ok(());
    }
    Err(refused(format!(
        "{who} has a command of {} bytes, more than the {LONGEST} that a shell can be given: put it into a script of the \
         repository and run that",
        cmd.len(),
    )))
}

fn check_environment<'a>(who: &str, env: impl Iterator<Item = (&'a String, &'a String)>) -> Result<()> {
    let mut all = 0;
    for (name, value) in env {
        let length = name.len() + 1 + value.len();
        if length > LONGEST_VARIABLE {
            return Err(refused(format!(
                "{who} has a variable {name} of {} bytes, and no program can be given more than {LONGEST_VARIABLE}: put \
                 the value into a file of the repository",
                value.len(),
            )));
        }
        all += length;
    }
    if all > LONGEST / 2 {
        return Err(refused(format!(
            "{who} has an environment of {all} bytes, more than the {} that a program can be given: put some of it into \
             files of the repository",
            LONGEST / 2,
        )));
    }
    Ok(())
}

/// The plan's own variables were looked at when it was parsed; those of the run come to all steps.
fn check_names(who: &str, shell: Option<&Shell>, run_env: &BTreeMap<String, String>) -> Result<()> {
    match hm_pipeline_ir::dropped_variable(run_env, shell) {
        None => Ok(()),
        Some((name, reason)) => Err(BackendError::Rejected {
            code: "bad_variable".into(),
            message: format!("{who} would be given the run's variable {name:?}, {reason}"),
        }),
    }
}

fn refused(message: String) -> BackendError {
    BackendError::Rejected {
        code: "too_long".into(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Those that are here; `sh` always is.
    fn shells() -> Vec<Option<Shell>> {
        let named = ["dash -e", "bash -eo pipefail", "busybox sh -e", "sh -e"];
        let there = |shell: &Shell| {
            let probe = Command::new(shell.program()).args(["-c", "true"]).output();
            shell.program() == "busybox" && probe.is_ok() || probe.is_ok_and(|probe| probe.status.success())
        };
        let named = named.into_iter().filter_map(|text| Shell::parse(text).ok());
        std::iter::once(None)
            .chain(named.filter(there).map(Some))
            .collect()
    }

    fn run(shell: Option<&Shell>, command: &str) -> (Option<i32>, String) {
        let argv = argv(shell, command);
        let output = Command::new(&argv[0])
            .args(&argv[1..])
            .output()
            .expect("the shell runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).expect("text"))
    }

    #[test]
    fn command_longer_than_an_argument_runs_as_it_was_written() {
        let filler = "🦀x".repeat(PIECE / 2);
        let command = format!(
            "# {filler}\necho \"$# [$__hm]\"\nset -- 'a  b' c; echo \"$1\"\ncat <<'END' | wc -c\n{filler}\nEND\nprintf '%s' last"
        );
        let length = filler.len() + 1;
        for shell in &shells() {
            let shell = shell.as_ref();
            assert!(argv(shell, &command).len() > 6);
            let wanted = format!("0 []\na  b\n{length}\nlast");
            assert_eq!(run(shell, &command), (Some(0), wanted), "{shell:?}");
        }
    }

    #[test]
    fn failing_line_ends_the_command_where_the_shell_says_so() {
        for filler in ["", &format!("# {}\n", "x".repeat(PIECE))] {
            let command = format!("{filler}echo one\nfalse\necho two");
            for shell in &shells() {
                let wanted = match shell {
                    None => (Some(0), "one\ntwo\n".to_owned()),
                    Some(_) => (Some(1), "one\n".to_owned()),
                };
                assert_eq!(run(shell.as_ref(), &command), wanted, "{shell:?}");
            }
        }
    }

    #[test]
    fn command_that_begins_with_a_dash_is_a_command() {
        for command in ["-x 2>/dev/null || echo ok", "+x 2>/dev/null || echo ok"] {
            for shell in &shells() {
                assert_eq!(
                    run(shell.as_ref(), command),
                    (Some(0), "ok\n".to_owned()),
                    "{shell:?}"
                );
            }
        }
    }

    #[test]
    fn short_command_is_an_argument_of_its_own() {
        assert_eq!(argv(None, "make"), ["sh", "-c", "--", "make"]);
        let bash = Shell::parse("bash -eo pipefail").ok();
        assert_eq!(
            argv(bash.as_ref(), "make"),
            ["bash", "-eo", "pipefail", "-c", "--", "make"]
        );
        assert_eq!(argv(None, &"x".repeat(PIECE)).len(), 4);
        assert_eq!(argv(None, &"x".repeat(PIECE + 1)).len(), 7);
    }
}
