//! Turns a repository's pipeline files, `.hm/*.py`, into plans: v0 IR JSON.
//!
//! The language is a Python package that is part of this crate; the machine's own Python runs it. A plan is
//! kept with a record of everything that it was made from (files, directories, variables, the hour), so that
//! an unchanged pipeline starts no Python.
#![forbid(unsafe_code)]

mod cache;
mod discover;
mod error;
mod python;
mod render;

pub use discover::{Found, discover, look};
pub use error::DslError;
pub use python::candidates as python_candidates;
pub use render::{RenderRequest, Rendered, RenderedPipeline, render};
