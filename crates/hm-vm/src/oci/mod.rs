//! Images from registries, OCI layouts and `docker save` archives.
//!
//! [`ImageStore`] finds an image by its reference, pins it to a digest, and keeps its layers unpacked, each once
//! and shared by all images that have it, ready to be stacked by an overlay.
//!
//! ```text
//! registries, credentials, platform, progress    what the caller says, and what it is told
//! name  remote  download                         a registry's side
//! manifest  layout  archive                      what an image is made of, wherever it comes from
//! store  record  layers  collect                 what is kept
//! unpack                                         a layer's archive becomes a directory
//! ```

mod credentials;
mod limits;
mod platform;
mod progress;
mod registries;

pub use credentials::{CredentialSource, Credentials};
pub use limits::UnpackLimits;
pub use platform::Platform;
pub use progress::{ImageProgress, Progress};
pub use registries::{ImageSettings, PullPolicy, RegistrySettings};
