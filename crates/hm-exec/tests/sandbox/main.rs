//! The local backend over the sandbox, with real processes.
#![cfg(target_os = "linux")]

mod caches;
mod contract;
mod limits;
mod services;
mod support;
