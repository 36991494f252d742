//! Artifacts: files of a step's workspace that are kept for people.
//!
//! They lie below `<data>/artifacts`, and what is written later names what was written before, so that a kill leaves
//! nothing half: `files/aa/<BLAKE3>` is a content, once however often it was made; `runs/<run>.jsonl` lists what a run
//! has, and `snapshots/<backend>/<snapshot>.json` what the step left that made the snapshot, to be listed again on a
//! cache hit. A content lives as long as one of these names it: [`ArtifactStore::sweep`] removes the others. `tmp` has
//! what is just being copied out. Whoever adds something holds `lock` shared, a sweep holds it alone.

mod collect;
mod junit;
mod list;
mod store;
mod sweep;

#[cfg(test)]
mod tests;

pub(super) use collect::{Collected, Collector};
pub(super) use list::Listed;
pub use store::{Artifact, ArtifactStore};
pub use sweep::{Keep, Swept};

/// The most files that one entry of a step's `artifacts` keeps.
const MAX_FILES: u64 = 10_000;
