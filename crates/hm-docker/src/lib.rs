//! Machines in containers of any Docker-compatible engine, through its API: Docker, Podman, Colima, OrbStack.
//!
//! **A command is its container.** A machine is an image until a command comes; then a container is made from it, and
//! a small shell program in it reads one line from its standard input and runs what that says (`script`). When the
//! command ends, the container ends, and the kernel kills whatever it left behind; cancelling it is ending the
//! container. So limits, network, user and cache directories are the container's, an `exec` of the engine's (about a
//! third of a step's cost) is spared, and nothing that a command is given, secrets above all, is in a configuration,
//! an image or an argument list. The next command of the machine starts the same container again, or, when it asks for
//! something else, one above an image of it. A command that comes while another one runs is an `exec` in the same
//! container (`beside`): it sees the other's files, and its processes too. The container waits for it to end.
//!
//! **A snapshot is an image**, committed without copying anything but what was written, and a file that says which
//! source lies in it and what was written over that (`base`); what steps wrote over that is found out
//! when it has changed (`written`). A chain of 100 layers becomes one, for the
//! engine allows 125.
//!
//! **The source lies in an image of its own** above the one that a plan names (`sourced`). It is sent once; what
//! differs from it today is sent once more for all machines, as one small image. Nothing is ever mounted from the
//! worktree.
//!
//! **Everything bears labels** (`labels`) that name the data directory and the process: `reclaim` removes what
//! processes that were killed have left, and nothing else is ever removed.
//!
//! What an engine cannot do: an image's `VOLUME` is no part of a snapshot, and one that hides the source is refused; a second command of a machine cannot have
//! secret files, for the first would see them; a cancelled command ends those that began beside it;
//! Podman 4 gives a pod's names to none of its machines, which find each other at localhost.
//!
//! ```text
//! config  engine  shared  labels  state     the way to an engine, what is kept beside it
//! image  images  remembered  import  packed images: by reference, of hm's own, of files
//! base  sourced  manifest  stream           what a machine starts from, with today's source in it
//! backend  vm  container  script  run       machines and their commands
//! beside  attach  disk  pod  pods  caches   what else a command may need
//! commit  names  written  export  usage  reclaim    what is left when it has ended
//! ```

#![forbid(unsafe_code)]

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
mod images;
mod import;
mod labels;
mod manifest;
mod names;
mod packed;
mod pod;
mod pods;
mod reclaim;
mod remembered;
mod run;
mod script;
mod shared;
mod sourced;
mod state;
mod stream;
mod usage;
mod vm;
mod written;

#[cfg(all(feature = "testing", target_os = "linux", not(hm_elsewhere)))]
pub mod testing;

pub use backend::DockerBackend;
pub use config::DockerConfig;
