//! The image store: real registries, archives and layers, and hostile ones.
#![cfg(target_os = "linux")]

mod registry;
