//! What a step that asks for `.git` finds there.
//!
//! Wherever a worktree keeps its repository (in `.git`, behind a link or a file, shared with other worktrees, with
//! objects borrowed from a third), a step sees a directory `.git` in place that holds all of it. Two files in it
//! are not as they were: `config`, by which git takes the copied files for what its index remembers, and the
//! index, in which files whose content is that of the index have the times that they have in the source.

mod config;
mod index;
mod list;
mod state;

pub(super) use list::list;

use std::path::Path;

use crate::frozen::Source;
use crate::tree::bytes_of;

impl Source {
    /// The digest of all paths, kinds, executable bits and contents, in hexadecimal. Times are not in it. Where
    /// it has `.git`, what a command can learn from that is in it too: where `HEAD` and the refs are, what is
    /// staged, and how git is configured.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest_with(|dot_gits| state::digest(self, dot_gits))
    }

    /// The content of a git index for whoever lays files with other modification times: `laid` makes each one's seconds of
    /// its nanoseconds, and git takes the files for the ones that it knows. `None`: as it is.
    pub fn index_with_times(&self, path: &Path, laid: impl Fn(i64) -> i64) -> Option<Vec<u8>> {
        index::with_times(self, &bytes_of(path), laid)
    }
}
