//! Images from registries, OCI layouts and `docker save` archives.
//!
//! [`ImageStore`] finds an image by its reference, pins it to a digest, and keeps its layers unpacked, each once
//! and shared by all images that have it, ready to be stacked by an overlay.
//!
//! ```text
//! registries, credentials, platform, limits, progress    what the caller says, and what it is told
//! store           what is kept: found, made ready, removed
//! store::unpack   a layer's archive becomes a directory
//! ```

#![forbid(unsafe_code)]

mod credentials;
mod limits;
mod platform;
mod progress;
mod registries;

#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
mod store;
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
pub use store::{ImageStore, LayerFiles, OpenImage, Unpacking, unpack};

#[cfg(all(feature = "testing", target_os = "linux", not(hm_elsewhere)))]
pub mod testing;

pub use credentials::{CredentialSource, Credentials};
pub use limits::UnpackLimits;
pub use platform::Platform;
pub use progress::{ImageProgress, Progress};
pub use registries::{ImageSettings, PullPolicy, RegistrySettings};
