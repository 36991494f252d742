//! Images and a registry for tests: real ones, made on this machine.
//!
//! ```no_run
//! # async fn example() {
//! use hm_oci::testing::{ImageBuilder, Layer, Registry};
//!
//! let registry = Registry::start();
//! let image = ImageBuilder::busybox()
//!     .layer(Layer::new().file("etc/greeting", "hello\n"))
//!     .env("GREETING", "hello")
//!     .build();
//! let reference = image.push(&registry, "greeter:1").await; // "127.0.0.1:PORT/greeter:1"
//! # }
//! ```
//!
//! It needs Debian's `docker-registry` and `busybox-static`.

mod image;
mod layer;
mod push;
mod registry;
mod throttle;
mod write;

pub use image::{BuiltImage, ImageBuilder, index};
pub use layer::{Layer, Packing};
pub use push::push_index;
pub use registry::{PASSWORD, Registry, USER};
pub use throttle::Throttle;

/// The digest of some bytes, as OCI writes it.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;

    let mut text = String::from("sha256:");
    for byte in <sha2::Sha256 as sha2::Digest>::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
