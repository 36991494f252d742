//! What can go wrong between a pipeline file and its plan.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why there is no plan.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DslError {
    /// There is no pipeline file.
    #[error("there is no pipeline in {root}: no .hm/*.py{}", if *.other_tool { "\n  → .harmont/ is there, and hm does not read it: move its .py files into .hm/" } else { "\n  → write .hm/ci.py, with `import harmont as hm` and a function under @hm.pipeline(\"ci\")" }, root = .root.display())]
    NoPipelineFile {
        /// The repository's root.
        root: PathBuf,
        /// There is a `.harmont/` directory.
        other_tool: bool,
    },
    /// There are pipeline files, and none of them registers a pipeline.
    #[error(
        "none of {files} registers a pipeline\n  → put @hm.pipeline(\"ci\") above a function that returns its last steps"
    )]
    NoPipeline {
        /// The files that were run.
        files: String,
    },
    /// There is no Python.
    #[error(
        "pipelines are written in Python, and there is no python3 in PATH\n  → install Python 3.9 or newer (Debian, Ubuntu: apt-get install python3)"
    )]
    NoPython,
    /// There are only Pythons that are too old.
    #[error(
        "hm needs Python 3.9 or newer, and found {found}\n  → install a newer one (Debian, Ubuntu: apt-get install python3) and put it first in PATH"
    )]
    OldPython {
        /// What was found: path and version of each.
        found: String,
    },
    /// The author's file failed.
    #[error("{}{}{text}", before(.printed), heading(.text))]
    Author {
        /// The file, relative to the root; empty when no file of the author's was at work.
        file: String,
        /// The line in it.
        line: u32,
        /// The author's lines that led there, and the exception.
        text: String,
        /// The end of what the files printed until then.
        printed: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("interrupted while running the pipeline files")]
    Interrupted,
    /// The author's files did not come to an end.
    #[error("the pipeline files were still running after {} s, and were stopped\n  → they should only describe the steps; the work belongs into the steps' commands", .after.as_secs())]
    TimedOut {
        /// How long they had.
        after: Duration,
    },
    /// The plans are too large.
    #[error("the plans are over {} MiB of JSON\n  → generate fewer steps, or shorter commands", .limit / 1024 / 1024)]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Python ended without an answer.
    #[error("{} ended ({status}) before it delivered the plans{}", .python.display(), if .stderr.is_empty() { String::new() } else { format!(":\n{}", .stderr.trim_end()) })]
    Died {
        /// Which Python.
        python: PathBuf,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        stderr: String,
    },
    /// Python's answer makes no sense.
    #[error("the answer of {} is not understood: {reason}", .python.display())]
    Answer {
        /// Which Python.
        python: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or directory cannot be used.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// A traceback begins with a place; without words before it, it would not say what it is.
fn heading(text: &str) -> &'static str {
    if text.starts_with(' ') {
        "a pipeline file failed:\n"
    } else {
        ""
    }
}

/// What was printed, as lines of their own before the error.
fn before(printed: &str) -> String {
    if printed.is_empty() {
        String::new()
    } else {
        format!("{}\n", printed.trim_end())
    }
}

impl DslError {
    /// For `map_err`: what was tried, with which path.
    pub(crate) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }
}
