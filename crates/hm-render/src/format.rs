use std::fmt;
use std::io::Write;
use std::str::FromStr;

use crate::human::Human;
use crate::json::Json;
use crate::junit::Junit;
use crate::options::Options;
use crate::plain::Plain;
use crate::renderer::Renderer;

/// A way to render a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// For a person at a terminal: a live line for each running step, the rest scrolls.
    Human,
    /// For pipes and logs: a prefix for each step, in order, no escapes of ours.
    Plain,
    /// One event a line.
    Json,
    /// A JUnit report, written when the build has ended.
    Junit,
}

/// No format has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not one of human, plain, json, junit")]
pub struct UnknownFormat(pub String);

impl Format {
    /// Every format, in the order in which to list them.
    pub const ALL: [Self; 4] = [Self::Human, Self::Plain, Self::Json, Self::Junit];

    /// The format's name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Plain => "plain",
            Self::Json => "json",
            Self::Junit => "junit",
        }
    }

    /// A renderer of this format that writes to `out`. It buffers by itself: give it the bare writer.
    pub fn renderer(self, out: impl Write + Send + 'static, options: Options) -> Box<dyn Renderer> {
        match self {
            Self::Human => Box::new(Human::new(out, options)),
            Self::Plain => Box::new(Plain::new(out, options)),
            Self::Json => Box::new(Json::new(out)),
            Self::Junit => Box::new(Junit::new(out)),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}
