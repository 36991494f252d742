//! The one place that writes messages. Standard output carries data only; words go to standard error.

use std::io::{self, Write};

/// How much hm says beside its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// Warnings and what the user should know.
    Default,
    /// What hm is doing, too.
    Verbose,
}

/// Writes messages for a person and data for a program.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    verbosity: Verbosity,
}

impl Printer {
    /// A printer.
    #[must_use]
    pub const fn new(verbosity: Verbosity) -> Self {
        Self { verbosity }
    }

    /// How much it says.
    #[must_use]
    pub const fn verbosity(self) -> Verbosity {
        self.verbosity
    }

    /// Writes data to standard output.
    ///
    /// # Errors
    /// When nobody reads it any more, or the disk is full.
    pub fn data(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Writes what a command wrote to its standard error to ours.
    ///
    /// # Errors
    /// When nobody reads it any more, or the disk is full.
    pub fn data_beside(self, text: &str) -> io::Result<()> {
        io::stderr().lock().write_all(text.as_bytes())
    }

    /// What went wrong.
    pub fn error(self, text: &str) {
        say(&format!("error: {text}"));
    }

    /// What to do about it.
    pub fn hint(self, text: &str) {
        say(&format!("hint: {text}"));
    }

    /// Something odd that hm goes on with.
    pub fn warning(self, text: &str) {
        if self.verbosity > Verbosity::Quiet {
            say(&format!("warning: {text}"));
        }
    }

    /// Something the user should know.
    pub fn note(self, text: &str) {
        if self.verbosity > Verbosity::Quiet {
            say(text);
        }
    }

    /// What hm is doing.
    pub fn detail(self, text: &str) {
        if self.verbosity == Verbosity::Verbose {
            say(&format!("hm: {text}"));
        }
    }
}

/// Writes a message, in which names and words of others cannot do a terminal any harm. One that cannot be written has nowhere
/// else to go.
fn say(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(format!("{}\n", hm_render::printable(text)).as_bytes());
}
