//! What is told while an image is fetched.

use std::fmt::Debug;

/// One thing that happened to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageProgress {
    /// A registry is asked what the reference stands for.
    Resolving,
    /// The image is known.
    Resolved {
        /// Its digest.
        digest: String,
        /// How many layers it has.
        layers: usize,
        /// Those that are not here yet.
        missing: usize,
        /// Packed bytes of those that are not here yet, as far as the image says.
        bytes: u64,
    },
    /// A layer is on its way.
    Downloading {
        /// Its place in the image, from 0.
        layer: usize,
        /// Its digest.
        digest: String,
        /// Bytes that are here.
        done: u64,
        /// Bytes that there are.
        total: u64,
    },
    /// A layer is here and becomes a directory.
    Unpacking {
        /// Its place in the image, from 0.
        layer: usize,
        /// Its digest.
        digest: String,
    },
    /// A layer is ready.
    LayerDone {
        /// Its place in the image, from 0.
        layer: usize,
        /// Its digest.
        digest: String,
    },
    /// The image is ready.
    Done,
    /// Something worth knowing that is no error.
    Notice(String),
}

/// Who is told. Called from many threads, often: return at once.
pub trait Progress: Send + Sync + Debug {
    /// `image` is the reference as it was written.
    fn progress(&self, image: &str, progress: &ImageProgress);
}
