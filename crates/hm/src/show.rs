//! Chooses a renderer and tells it about its reader.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Sender};

use hm_render::{Options, Renderer, Style};

use crate::choices::{Format, Logs};
use crate::config::Config;
use crate::context::Context;
use crate::env_vars;
use crate::fail::{Failure, Result};
use crate::printer::{Printer, Verbosity};

/// What is shown where the terminal does not tell its size.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// A renderer, and how to say something while it has the terminal.
pub struct Shown {
    /// Writes to standard output.
    pub renderer: Box<dyn Renderer>,
    /// Says it where the renderer does not draw over it.
    pub notes: Notes,
}

/// Says something during a build.
#[derive(Debug, Clone)]
pub enum Notes {
    /// On standard error.
    Printed(Printer),
    /// Above the live area of the renderer that reads the other end.
    Scrolled(Sender<String>),
}

impl Notes {
    /// Says it.
    pub fn say(&self, text: &str) {
        match self {
            Self::Printed(printer) => printer.note(text),
            // A renderer that has ended has nothing left to draw over.
            Self::Scrolled(notes) => drop(notes.send(text.to_owned())),
        }
    }
}

/// The renderer that the configuration asks for, on standard output; `live` where there is a build to watch.
///
/// # Errors
/// When standard output is closed.
pub fn renderer(context: &Context, config: &Config, live: bool) -> Result<Shown> {
    let environment = &context.environment;
    let usual = if environment.stdout_tty {
        Format::Human
    } else {
        Format::Plain
    };
    let format = config.format.unwrap_or(usual);
    let get = |name: &str| environment.get(name).map(str::to_owned);
    let dumb = environment.get(env_vars::TERM) == Some("dumb");
    let live = live && environment.stdout_tty && !dumb && format == Format::Human;
    let (sender, receiver) = mpsc::channel();
    let quiet = context.printer.verbosity() == Verbosity::Quiet;
    let notes = if live && !quiet {
        Notes::Scrolled(sender)
    } else {
        Notes::Printed(context.printer)
    };
    let options = Options {
        style: Style::detect(environment.stdout_tty, get),
        logs: config.logs.map(|logs| match logs {
            Logs::All => hm_render::Logs::All,
            Logs::Failed => hm_render::Logs::Failed,
            Logs::None => hm_render::Logs::None,
        }),
        quiet,
        hints: true,
        terminal: environment.stdout_tty,
        notes: Some(receiver),
        screen: live.then(|| Box::new(terminal_size) as hm_render::Screen),
    };
    let format = match format {
        Format::Human => hm_render::Format::Human,
        Format::Plain => hm_render::Format::Plain,
        Format::Json => hm_render::Format::Json,
        Format::Junit => hm_render::Format::Junit,
    };
    // Not `Stdout` itself: its line buffering would make a system call of every line.
    let out = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(Failure::Output)?;
    Ok(Shown {
        renderer: format.renderer(File::from(out), options),
        notes,
    })
}

/// Columns and rows of the terminal at standard output.
pub fn terminal_size() -> (u16, u16) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => USUAL_SIZE,
    }
}
