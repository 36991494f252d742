//! What our Python package sends back. Its other half is `python/hm_host/main.py`.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The one document that Python writes: exactly one of these is there.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    /// It cannot run our package: its version.
    pub(crate) too_old: Option<String>,
    /// An author's file failed.
    pub(crate) failure: Option<Failure>,
    /// All went well.
    pub(crate) plans: Option<Plans>,
}

/// The failure of an author's file.
#[derive(Debug, Deserialize)]
pub(crate) struct Failure {
    /// `author` or `interrupted`.
    pub(crate) kind: String,
    /// The file, relative to the root where it is below it.
    pub(crate) file: String,
    /// The line.
    pub(crate) line: u32,
    /// What to show.
    pub(crate) text: String,
}

/// The plans, and what they were made from.
#[derive(Debug, Deserialize)]
pub(crate) struct Plans {
    /// All registered pipelines.
    pub(crate) pipelines: Vec<Entry>,
    /// The seconds since 1970 between which the same plans come out.
    pub(crate) window: (i64, i64),
    /// What was read.
    pub(crate) record: Record,
    /// Python's own path.
    pub(crate) python: String,
}

/// One registered pipeline.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) slug: String,
    pub(crate) name: String,
    pub(crate) allow_manual: bool,
    pub(crate) triggers: Box<RawValue>,
    pub(crate) definition: Box<RawValue>,
}

/// What the author's files read; paths are absolute.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Record {
    /// Files that were opened, or that somebody tried to open.
    pub(crate) opened: Vec<String>,
    /// Directories that were listed.
    pub(crate) listed: Vec<String>,
    /// Paths of which it was asked whether they are there.
    pub(crate) probed: Vec<String>,
    /// Files of which the size or the times were asked.
    pub(crate) stated: Vec<String>,
    /// Variables that were read.
    pub(crate) variables: Vec<String>,
    /// All variables were read.
    pub(crate) whole_environment: bool,
    /// Why the plans cannot be kept.
    pub(crate) uncacheable: Option<String>,
}
