//! `hm completions` and `hm man`, made from the one declaration of the command line.

use clap::CommandFactory;

use crate::cli::Cli;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// Prints a shell's completion script.
///
/// # Errors
/// When the output cannot be written.
pub fn completions(context: &Context, shell: clap_complete::Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hm", &mut script);
    print(context, &script)
}

/// Prints the manual page: hm itself, then each command.
///
/// # Errors
/// When the output cannot be written.
pub fn man(context: &Context) -> Result<u8> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .map_err(Failure::Output)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let man = clap_mangen::Man::new(sub.clone());
        page.extend_from_slice(format!(".SH \"HM {}\"\n", sub.get_name().to_uppercase()).as_bytes());
        man.render_synopsis_section(&mut page)
            .and_then(|()| man.render_description_section(&mut page))
            .and_then(|()| man.render_options_section(&mut page))
            .map_err(Failure::Output)?;
    }
    print(context, &page)
}

fn print(context: &Context, bytes: &[u8]) -> Result<u8> {
    context
        .printer
        .data(&String::from_utf8_lossy(bytes))
        .map_err(Failure::Output)?;
    Ok(exit::PASSED)
}
