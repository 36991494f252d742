//! What is said about a build, in words that every text renderer shares.

mod artifacts;
mod duration;
mod failure;
mod header;
mod shown;
mod step;
mod verdict;

pub(crate) use artifacts::artifacts;
pub(crate) use duration::duration;
pub(crate) use failure::{Block, failures};
pub(crate) use header::header;
pub(crate) use shown::Shown;
pub use step::one_line;
pub(crate) use step::{ended, ended_sign, retried, started};
pub(crate) use verdict::{progress, verdict, verdict_sign};
