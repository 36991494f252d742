//! How much a layer may unpack to.

use serde::{Deserialize, Serialize};

/// What ends the unpacking of a layer. An honest image comes near none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackLimits {
    /// Bytes of the unpacked archive.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
    /// How many times its packed size a layer of more than a GiB may be.
    pub ratio: u64,
    /// Bytes that stay free on the disk.
    pub keep_free: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            entries: 4_000_000,
            ratio: 200,
            keep_free: 256 << 20,
        }
    }
}
