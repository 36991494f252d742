use std::fmt;
use std::str::FromStr;
use std::sync::mpsc::Receiver;

use crate::terminal::Style;

/// How to ask for the terminal's size: columns, then rows. It is asked before each drawing, so it has to be cheap.
pub type Screen = Box<dyn Fn() -> (u16, u16) + Send>;

/// How much of the steps' output to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    /// Every line, as it comes.
    All,
    /// The last lines of a failed step, when the build has ended (when the step has, if it may fail); while a step runs, its newest line.
    Failed,
    /// None at all, not even in the block about a failed step.
    None,
}

impl Logs {
    /// Every setting, in the order in which to list them.
    pub const ALL: [Self; 3] = [Self::All, Self::Failed, Self::None];

    /// The setting's name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failed => "failed",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Logs {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|logs| logs.as_str() == name)
            .ok_or_else(|| format!("'{name}' is not one of all, failed, none"))
    }
}

impl Options {
    /// How much output to show, where `by_default` is the format's own answer.
    pub(crate) fn logs(&self, by_default: Logs) -> Logs {
        match self.logs {
            Some(Logs::All) | None if self.quiet => Logs::Failed,
            logs => logs.unwrap_or(by_default),
        }
    }
}

/// What a renderer is told about its reader.
pub struct Options {
    /// Color and unicode.
    pub style: Style,
    /// How much of the steps' output to show; `None` is the format's default: `failed` for a live `human`, `all` elsewhere.
    pub logs: Option<Logs>,
    /// Show only failures and the verdict.
    pub quiet: bool,
    /// Offer `hm shell` and `hm rerun` for a failed step. They mean nothing for a build that did not run on this machine.
    pub hints: bool,
    /// What is written goes to a terminal: a step's output must not move its cursor, or leave it in another state.
    pub terminal: bool,
    /// The terminal to draw the live area of `human` on, if there is one.
    pub screen: Option<Screen>,
    /// What the caller has to say meanwhile: with a live area it scrolls above, where a write of the caller's own would be drawn over.
    pub notes: Option<Receiver<String>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            style: Style::default(),
            logs: None,
            quiet: false,
            hints: true,
            terminal: false,
            screen: None,
            notes: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("style", &self.style)
            .field("logs", &self.logs)
            .field("quiet", &self.quiet)
            .field("hints", &self.hints)
            .field("screen", &self.screen.is_some())
            .finish()
    }
}
