//! The sandbox: Linux namespaces over overlayfs. Nothing to install, no daemon; as root and as an ordinary user.
//!
//! A machine is a directory to write to and a list of directories to read; a command gets mount, pid, ipc, uts,
//! cgroup and network namespaces of its own over them, as an ordinary user within one user namespace per
//! run. A snapshot **is** the directory that was written to, sealed: taking one copies nothing, and forking ten
//! machines from it copies nothing.
//!
//! ```text
//! backend    SandboxBackend: images, machines, snapshots          vm        one machine
//! images     what a reference means   host  tarball  frame        layers    what steps wrote, sealed
//! client     hm's end of the supervisor   protocol   supervisor   the process that starts commands
//! caches     cache directories   pods   networks that commands share   export   files that leave a machine
//! ```

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

pub use crate::sandbox_surface::{PASSED_VARIABLES, Passing, SandboxConfig, Stats};
pub use backend::SandboxBackend;
