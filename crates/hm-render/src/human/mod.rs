//! The renderer for a person at a terminal.

mod live;
mod renderer;
mod running;

pub use renderer::Human;
