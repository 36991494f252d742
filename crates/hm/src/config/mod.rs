//! Configuration: defaults, the user's file, the project's, the environment, the flags; the later wins, and
//! every value knows where it came from.

mod cloud;
mod layers;
mod load;
mod reader;
mod registries;
mod setting;
mod values;
mod words;

pub use cloud::server_url;
pub use layers::{Layers, Origin};
pub use load::load;
pub use setting::{IMAGES, REGISTRIES, REGISTRY_SETTINGS, SECRETS, SETTINGS};
pub use values::Config;
