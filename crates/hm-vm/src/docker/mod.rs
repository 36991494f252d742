//! Machines in containers of any Docker-compatible engine, through its API: Docker, Podman, Colima, OrbStack.

mod attach;
mod backend;
mod base;
mod beside;
mod caches;
mod commit;
mod config;
mod container;
mod disk;
mod engine;
mod export;
mod image;
mod import;
mod labels;
mod manifest;
mod packed;
mod pods;
mod run;
mod script;
mod shadow;
mod shared;
mod sourced;
mod state;
mod stream;
mod vm;

pub use backend::DockerBackend;
pub use config::DockerConfig;
