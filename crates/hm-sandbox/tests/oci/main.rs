//! The image store: real registries, archives and layers, and hostile ones.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails fails the test, and its line says what it did"
)]

mod files;
mod hostile;
mod interrupted;
mod keeping;
mod pulling;
mod registry;
mod support;
