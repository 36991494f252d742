//! Virtual machines for the steps of a build: images, snapshots, the source tree and the snapshot registry.
//!
//! A [`VmBackend`] makes a [`Vm`] from an image or from a snapshot; a [`Vm`] is given the [`source::Source`],
//! runs commands with streamed output, and is sealed into a snapshot. [`registry::Registry`] remembers
//! which cache key a snapshot stands for. Nothing here knows what a pipeline is.
//!
//! This crate never prints and never reads the environment or `$HOME`: its caller passes these in.
#![deny(unsafe_code)]

#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
mod blocking;
mod caches;
mod cancel;
mod error;
mod exec;
mod export;
mod features;
mod image;
mod patterns;
mod pod;
mod secret;
mod vm;

pub mod docker;
pub mod files;
pub mod oci;
pub mod registry;
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
pub mod sandbox;
#[cfg(any(not(target_os = "linux"), hm_elsewhere))]
#[path = "sandbox_elsewhere.rs"]
pub mod sandbox;
mod sandbox_surface;
pub mod source;
#[cfg(feature = "testing")]
pub mod testing;

pub use caches::{CacheDirectory, CacheMount};
pub use cancel::{Cancel, TerminateOnDrop};
pub use error::{Result, VmError};
pub use exec::{
    DEFAULT_GRACE, ExecOutcome, ExecRequest, ExitStatus, KillReason, Limits, Network, OutputChunk,
};
pub use exec::{Stream, Terminal, TerminalInput, TerminalSize, WORKSPACE};
pub use export::{Export, Exported, ExportedFile};
pub use features::Features;
pub use image::{ImageConfig, ImageMap, ImageReference, Images, PlanPaths, ResolvedImage, StoredImage};
pub use pod::{PodId, PodRequest};
pub use secret::{SECRETS_DIR, SecretValue, Secrets};
pub use vm::{Snapshot, SnapshotCheck, SnapshotId, Usage, Vm, VmBackend};
