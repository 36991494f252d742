//! The sandbox, on real namespaces and overlays of this machine.
#![cfg(target_os = "linux")]

mod contract;
mod host_changes;
mod kernel;
mod persons;
mod secrets;
mod support;
