//! Renders a stream of [`BuildEvent`](hm_plugin_protocol::events::BuildEvent)s. Writes to a given writer, and decides nothing: it never exits,
//! never reads the environment, never looks at the terminal by itself.
//!
//! A renderer is made by [`Format::renderer`] and driven by [`render`] (a live stream) or [`replay`] (a record):
//!
//! ```
//! use hm_render::{Format, Options, replay};
//! # fn main() -> std::io::Result<()> {
//! let record = std::io::Cursor::new("");
//! let mut renderer = Format::Plain.renderer(std::io::sink(), Options::default());
//! let state = replay(hm_render::read_events(record), renderer.as_mut())?;
//! assert!(state.verdict().is_none());
//! # Ok(())
//! # }
//! ```
//!
//! What the caller passes in, by [`Options`]:
//! - [`Style`]: color and unicode; [`Style::detect`] holds the usual rules about `NO_COLOR`, `TERM` and the locale;
//! - [`Screen`]: how to ask for the terminal's size. With it, `human` has its live area; without it, it only scrolls
//!   (a terminal that `hm logs` plays a record to, a pipe). It is asked before each drawing, so that a resize needs no signal;
//! - [`Logs`]: how much of the steps' output to show; each format has its own default;
//! - `quiet`: only failures and the verdict;
//! - `hints`: whether `hm shell` and `hm rerun` are offered for a failed step.
//!
//! [`Tee`] drives several renderers at once: the terminal, the run's record (`json` to a file), a JUnit file.
//!
//! Writing may block, which is how a slow reader slows the build. Run [`render`] where that is harmless: in `block_on` of a
//! multi-thread runtime, or on a thread of its own. An error of the writer (a closed pipe) is returned; [`BuildState`] then
//! lives on in the caller's hands with [`render_into`].
#![forbid(unsafe_code)]

mod drive;
mod format;
mod human;
mod json;
mod junit;
mod options;
mod plain;
mod record;
mod renderer;
mod report;
mod run_id;
mod state;
mod tee;
mod terminal;

pub use drive::{TICK, render, render_into, replay};
pub use format::{Format, UnknownFormat};
pub use human::Human;
pub use json::Json;
pub use junit::Junit;
pub use options::{Logs, Options, Screen};
pub use plain::Plain;
pub use record::{Events, read_events};
pub use renderer::Renderer;
pub use report::one_line;
pub use run_id::short_run_id;
pub use state::{Artifact, Artifacts, BuildState, Counts, Phase, ServiceOutput, Step, Tail, Tests, Verdict};
pub use tee::Tee;
pub use terminal::{Style, printable, width};
