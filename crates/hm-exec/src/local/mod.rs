//! Runs a build in-process: a scheduler over a [`hm_vm::VmBackend`] and the snapshot registry.
//!
//! [`LocalBackend`] checks what can be checked before anything runs (`setup`), decides which steps are cache
//! hits (`decide`), and hands the rest to one task that owns the run's state (`scheduler`); each step runs in a
//! task of its own (`step`), whose output is cut into lines (`lines`) and sent as events (`sink`). A past run's step is
//! set up again for a person (`reopen`).

mod artifacts;
mod backend;
mod build;
mod caches;
mod cleaner;
mod command;
mod decide;
mod features;
mod images;
mod keeper;
mod lines;
mod output;
mod patience;
mod reopen;
mod run;
mod scheduler;
mod scrub;
mod secrets;
mod select;
mod services;
mod setup;
mod sink;
mod snapshots;
mod state;
mod step;
mod views;
mod watched;

pub use artifacts::{Artifact, ArtifactStore, Keep, Swept};
pub use backend::LocalBackend;
pub use reopen::{Reopen, Reopened};
