//! The sandbox, where there is one.

mod backend;
mod caches;
mod catalogue;
mod client;
pub mod doctor;
mod export;
mod frame;
mod hidden;
mod hints;
mod host;
mod idmap;
mod image_files;
mod images;
pub mod layers;
mod order;
mod pods;
mod protocol;
mod pump;
mod roots;
mod running;
mod shared;
mod stats;
mod supervision;
mod supervisor;
mod sys;
mod tarball;
mod terminal;
mod vm;

pub use backend::SandboxBackend;
