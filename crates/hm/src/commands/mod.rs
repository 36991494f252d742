//! A file per command.

mod agent;
mod artifacts;
mod builds;
mod cache;
mod cloud;
mod completions;
mod config;
mod doctor;
mod events;
mod execute;
mod graph;
mod image;
mod init;
mod logs;
mod open_files;
mod pipelines;
mod render;
mod rerun;
mod run;
mod server;
mod shell;
mod table;

use crate::cli::Command;
use crate::context::Context;
use crate::fail::{Failure, Result};

/// Does what the command line asks and tells the exit code.
///
/// # Errors
/// Why it could not be done.
pub fn dispatch(command: Command, context: Context) -> Result<u8> {
    match command {
        Command::Run(args) => run::run(context, &args),
        Command::Rerun(args) => rerun::rerun(context, &args),
        Command::Shell(args) => shell::shell(&context, &args),
        Command::Init => init::init(&context),
        Command::Logs(args) => logs::logs(context, &args),
        Command::Artifacts(args) => artifacts::artifacts(&context, &args),
        Command::Builds(args) => builds::builds(&context, &args),
        Command::Pipelines { json } => pipelines::pipelines(&context, json),
        Command::Render(args) => render::render(&context, &args),
        Command::Graph(args) => graph::graph(&context, &args),
        Command::Doctor { json } => doctor::doctor(&context, json),
        Command::Cache(args) => cache::cache(context, &args),
        Command::Image(args) => image::image(context, &args),
        Command::Config { command } => config::config(&context, &command),
        Command::Cloud(command) => cloud::cloud(context, &command),
        Command::Server(args) => server::server(&context, &args),
        Command::Agent(args) => agent::agent(&context, &args),
        Command::Events { schema: _ } => events::schema(&context),
        Command::Completions { shell } => completions::completions(&context, shell),
        Command::Man => completions::man(&context),
    }
}

/// The runtime of a command that waits for something.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::io("cannot start threads for", "the build"))
}
