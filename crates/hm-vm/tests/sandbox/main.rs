//! The sandbox, on real namespaces and overlays of this machine.
#![cfg(target_os = "linux")]

mod contract;
