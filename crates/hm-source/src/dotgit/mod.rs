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

pub(super) use index::with_times;
pub(super) use list::list;
pub(super) use state::digest;

/// Whether a path is a `.git` or lies in one.
pub(super) fn is_inside(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|part| part == b".git")
}
