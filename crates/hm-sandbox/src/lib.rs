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
//!
//! On other systems there is a stub that has the same names and says so.
#![deny(unsafe_code)]

#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
mod linux;
#[cfg(any(not(target_os = "linux"), hm_elsewhere))]
mod stub;
mod surface;

#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
pub use linux::{SandboxBackend, doctor, layers};
#[cfg(any(not(target_os = "linux"), hm_elsewhere))]
pub use stub::*;
pub use surface::{PASSED_VARIABLES, Passing, SandboxConfig, Stats};
