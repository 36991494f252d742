//! A layer's archive becomes a directory that an overlay can be stacked from.
//!
//! The archive is somebody else's: nothing in it may reach anything outside the directory, and nothing in it may
//! take more of this machine than it was given. Every name is looked up from the directory's own descriptor and
//! beneath it; what an honest layer never has is refused, not mended.
//!
//! - OCI's whiteouts (`.wh.NAME`, `.wh..wh..opq`) become overlayfs's.
//! - Device nodes in `/dev` are left out, for a step gets its own; anywhere else they are refused.
//! - Owners are kept where there are ids for them, modes with their setuid bits, times, `user.*` attributes and
//!   capabilities. Attributes that overlayfs itself would read are left out.
//! - A source tree ([`Form::Source`]) keeps neither owners, attributes nor setuid, setgid and sticky bits.
//! - Directories that an archive has no entry for are made with mode 755.

mod archive;
mod error;
mod meter;
mod names;
mod order;
mod packing;
mod tree;

pub(super) use archive::Archive;
pub use error::UnpackError;
pub(super) use meter::digest;
pub use order::{Unpack, Unpacked, unpack};
pub use packing::decompressing;
pub(super) use packing::{decompress, diff_id};
pub use tree::Form;
