//! The sandbox, on real namespaces and overlays of this machine.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails fails the test, and its line says what it did"
)]

mod caches;
mod contract;
mod disk;
mod doctor;
mod exports;
mod host_changes;
mod ids;
mod images;
mod kernel;
mod leftovers;
mod limits;
mod nested;
mod network;
mod packages;
mod persons;
mod pods;
mod processes;
mod secret_values;
mod secrets;
mod stored;
mod support;
mod users;
