//! A step's command as the arguments of `sh`, and what of it the kernel would refuse.

use std::collections::BTreeMap;

use hm_pipeline_ir::PipelineGraph;

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

/// The arguments that run `command`: `sh -c COMMAND` wherever it fits.
pub(super) fn argv(command: &str) -> Vec<String> {
    if command.len() <= PIECE {
        return vec!["sh".into(), "-c".into(), command.into()];
    }
    let mut argv: Vec<String> = vec!["sh".into(), "-c".into(), JOIN.into(), "sh".into()];
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

    fn output(command: &str) -> String {
        let argv = argv(command);
        let output = Command::new(&argv[0]).args(&argv[1..]).output().expect("sh runs");
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn a_command_longer_than_an_argument_runs_as_it_was_written() {
        let filler = "🦀x".repeat(PIECE / 2);
        let command = format!(
            "# {filler}\necho \"$0 $# [$__hm]\"\nset -- 'a  b' c; echo \"$1\"\ncat <<'END' | wc -c\n{filler}\nEND\nprintf '%s' last"
        );
        assert!(argv(&command).len() > 6);
        let length = filler.len() + 1;
        assert_eq!(output(&command), format!("sh 0 []\na  b\n{length}\nlast"));
    }

    #[test]
    fn a_short_one_is_an_argument_of_its_own() {
        assert_eq!(argv("make"), ["sh", "-c", "make"]);
        assert_eq!(argv(&"x".repeat(PIECE)).len(), 3);
        assert_eq!(argv(&"x".repeat(PIECE + 1)).len(), 6);
    }
}
