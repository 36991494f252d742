//! The machine's Python: finding it, giving it our package, running it.

mod answer;
mod find;
mod package;
mod process;

pub(crate) use answer::{Answer, Entry, Plans, Record};
pub use find::candidates;
pub(crate) use package::{digest, unpack};
pub(crate) use process::{Call, TIMEOUT, ask, tail};
