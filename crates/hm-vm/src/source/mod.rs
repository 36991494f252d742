//! The source tree: frozen at the start of a run, brought in by what changed, a layer of its own.
//!
//! [`SourceStore::freeze`] takes the worktree as it stands: uncommitted and untracked files in, what
//! `.gitignore` files and `.git/info/exclude` leave out left out, `.hm` at the root and every `.git` too. A
//! file that is ignored *and* tracked (`git add -f`) is in, as git has it, unless git's index is of a kind not
//! read here (version 4, SHA-256) or that of a repository within the worktree.
//! Sockets, pipes and devices are no source.
//!
//! A frozen source is one or two overlay layers: a sealed **base**, copied once, and a **delta** with what
//! differs from it now. An index of every path's size, times and inode lets an unchanged file go unread. A
//! delta that has grown large becomes part of a new base, made by hard links.
//!
//! Files keep their modes and, to the nanosecond, their modification times; links are kept as links.
//! Directories keep their modes, except that their owner may always enter and write them (or no sealed tree
//! could be removed), and the times that they had when their layer was made.
//!
//! No process waits for another unless something changed, and one that is killed leaves only what the next
//! one removes.

mod compare;
mod copy;
mod entry;
mod error;
mod frozen;
mod ignores;
mod layer;
mod manifest;
mod parallel;
mod room;
mod scan;
mod store;
mod tracked;
mod tree;
mod was;

pub use entry::{Entry, EntryKind};
pub use error::SourceError;
pub use frozen::Source;
pub use store::{SourceOptions, SourceStore};
pub(crate) use was::Was;
