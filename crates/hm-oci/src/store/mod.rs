//! The store of images on this machine.
//!
//! ```text
//! images/DIGEST.json   what an image is made of and how it is run; its time: when it was last used
//! refs/NAME.json       what a reference stands for
//! use/DIGEST           locked, shared, by every process that uses the image
//! l/LAYER/             an unpacked layer, as an overlay takes it;  l/LAYER.partial one in the making
//! layers/LAYER.json    its digest and its size;  layers/LAYER.lock  locked by whoever makes it
//! blobs/               packed layers on their way here;  trash/  on its way out
//! lock                 shared by who begins to use an image, exclusive to who removes one
//! ```
//!
//! A layer is renamed into place when it is whole and is what its digest says, and its report is written before;
//! an image may be known before its layers are there. So a process may be killed at any moment.

mod bring;
mod collect;
mod download;
mod failure;
mod files;
mod find;
mod layer;
mod local;
mod manifest;
mod name;
mod open;
mod record;
mod remote;
pub mod unpack;

use super::{Credentials, ImageProgress, ImageSettings, Platform, PullPolicy};

pub use find::{ImageStore, LayerFiles};
pub use layer::Unpacking;
pub use open::OpenImage;
