//! The command line of hm. It parses, configures, chooses a backend, starts it, renders, records, cancels
//! and maps exit codes; everything else is in the libraries.
#![forbid(unsafe_code)]

mod address;
mod artifacts;
mod backend;
mod browser;
mod choices;
mod cli;
mod cloud;
mod commands;
mod config;
mod config_error;
mod context;
mod credentials;
pub mod env_vars;
mod environment;
pub mod exit;
mod fail;
mod pipelines;
mod printer;
mod pulls;
mod record;
mod repository;
mod secret_source;
mod secrets;
mod show;
mod signals;
mod sizes;
mod stats;
mod suggest;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use context::Context;
use environment::Environment;
use printer::{Printer, Verbosity};
use tracing::level_filters::LevelFilter;

/// Runs `hm` as the process was started, and tells the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(cli::translate(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads any more is no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                exit::SETUP
            } else {
                exit::PASSED
            });
        }
    };
    // Nothing that hm makes is another user's to write to, whatever it was started with.
    let others = rustix::fs::Mode::from_raw_mode(0o002);
    let umask = rustix::process::umask(others);
    rustix::process::umask(umask | others);
    let verbosity = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, true) => Verbosity::Verbose,
        (false, false) => Verbosity::Default,
    };
    let printer = Printer::new(verbosity);
    tell_diagnostics(verbosity);
    let done = Context::new(Environment::of_process(), printer, &cli.global)
        .and_then(|context| commands::dispatch(cli.command, context));
    let code = done.unwrap_or_else(|failure| {
        let report = failure.report();
        if !report.message.is_empty() {
            printer.error(&report.message);
        }
        for hint in report.hints {
            printer.hint(&hint);
        }
        report.exit
    });
    ExitCode::from(code)
}

/// What the libraries note by the way goes to standard error.
fn tell_diagnostics(verbosity: Verbosity) {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::ERROR,
        Verbosity::Default => LevelFilter::WARN,
        Verbosity::Verbose => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .init();
}
