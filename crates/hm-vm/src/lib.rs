//! Machines for the steps of a build: what every backend offers, and nothing of how.
//!
//! A [`VmBackend`] makes a [`Vm`] from an image or from a snapshot; a [`Vm`] is given a [`hm_source::Source`],
//! runs commands with streamed output, and is sealed into a snapshot. Nothing here knows what a pipeline is.
//!
//! No backend prints or reads the environment or `$HOME`: its caller passes these in.
#![forbid(unsafe_code)]

mod blocking;
mod caches;
mod cancel;
mod error;
mod exec;
mod export;
mod features;
mod image;
mod pod;
mod secret;
mod vm;

pub mod patterns;
#[cfg(feature = "testing")]
pub mod testing;

pub use blocking::blocking;
pub use caches::{CacheDirectory, CacheKeep, CacheMount};
pub use cancel::{Cancel, TerminateOnDrop};
pub use error::{Result, VmError};
pub use exec::{
    CommandStart, DEFAULT_GRACE, ExecOutcome, ExecRequest, ExitStatus, KillReason, Limits, Network,
    OutputChunk,
};
pub use exec::{Stream, Terminal, TerminalInput, TerminalSize, WORKSPACE};
pub use export::{Export, Exported, ExportedFile};
pub use features::Features;
pub use image::{ImageConfig, ImageMap, ImageReference, Images, PlanPaths, ResolvedImage, StoredImage};
pub use pod::{PodId, PodRequest};
pub use secret::{SECRETS_DIR, SecretValue, Secrets};
pub use vm::{Snapshot, SnapshotCheck, SnapshotId, Usage, Vm, VmBackend};
