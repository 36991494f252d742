//! Configuration: defaults, the user's file, the project's, the environment, the flags; the later wins, and
//! every value knows where it came from.

mod cloud;
mod error;
mod layers;
mod registries;
mod setting;
mod values;

pub use cloud::server_url;
pub use error::ConfigError;
pub use layers::{Layers, Origin, load};
pub use setting::{IMAGES, REGISTRIES, REGISTRY_SETTINGS, SECRETS, SETTINGS};
pub use values::{BackendChoice, Config, parse_image_pair, parse_size};
