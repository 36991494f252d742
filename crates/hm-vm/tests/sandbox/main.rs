//! The sandbox, on real namespaces and overlays of this machine.
#![cfg(target_os = "linux")]

mod contract;
mod disk;
mod doctor;
mod host;
mod host_changes;
mod images;
mod kernel;
mod leftovers;
mod network;
mod persons;
mod processes;
mod secrets;
mod support;
