//! Where the values of secrets come from. A plan names secrets; what they are is said, from the strongest to the
//! weakest, by `--secret`, by the repository's `.hm/secrets.toml` (values, which git must not have), by `[secrets]` in its
//! `.hm/config.toml`, and by `[secrets]` in the user's file (both say where a value is to be had, never what it is). Only
//! what a step asks for is read, anew for each run; no record has a value. An agent has its own file of values in between,
//! and gives builds of a server what they ask for; a run never sends a value there.

mod agents;
mod local_file;
mod resolve;

pub use agents::agents_secrets;
pub use local_file::{names as local_names, path as local_file};
pub use resolve::{Resolved, SecretSources, of_run, resolve};
