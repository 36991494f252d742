//! The source tree: frozen at the start of a run, brought in by what changed, a layer of its own.
//!
//! [`SourceStore::freeze`] takes what git has: every file that it tracks or would track, at every depth and in
//! every repository within the repository, as it lies there now; what `.gitignore` files, `.git/info/exclude` and
//! `core.excludesFile` leave out is left out, unless it is tracked in spite of that. The tests hold it against git.
//! What `.git` holds comes for who asks, as layers of its own over the files: see `dotgit`.
//! Sockets, pipes and devices are no source; [`Source::notes`] names them.
//!
//! A frozen source is one or two overlay layers: a sealed **base**, copied once, and a **delta** with what
//! differs from it now. An index of every path's size, times and inode lets an unchanged file go unread. A
//! delta that has grown large becomes part of a new base, made by hard links.
//!
//! Files keep their permissions and, to the nanosecond, their modification times; links are kept as links. They are
//! hm's own, without set-user-ID, set-group-ID, capabilities or another owner.
//! Directories keep their modes, except that their owner may always enter and write them (or no sealed tree
//! could be removed), and the times that they had when their layer was made.
//!
//! No process waits for another unless something changed, and one that is killed leaves only what the next
//! one removes.
#![forbid(unsafe_code)]

mod compare;
mod copy;
mod dotgit;
mod entry;
mod error;
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
mod expected_state;
mod frozen;
mod ignores;
mod layer;
mod manifest;
mod notes;
mod origins;
mod parallel;
mod repository;
mod room;
mod scan;
mod store;
mod tracked;
mod tree;

pub use entry::{Entry, EntryKind};
pub use error::SourceError;
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
pub use expected_state::ExpectedState;
pub use frozen::Source;
pub use store::{SourceOptions, SourceStore};
