//! Large things that are written once and read as they are: source archives. The server never looks into one.

mod directory;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use directory::DirectoryBlobs;

use crate::BuildId;

/// What [`Blobs`] answer.
pub type Result<T> = std::result::Result<T, BlobError>;

/// Why a blob could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// Storage failed.
    #[error("the blob {name} cannot be kept or read")]
    Storage {
        /// Which.
        name: String,
        /// What storage says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where source archives are.
pub(crate) const SOURCES: &str = "sources";

/// A blob's name. Only ids stand in it, so that nothing of a request can become a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobName(String);

impl BlobName {
    /// The source archive of a build.
    #[must_use]
    pub fn source(build: BuildId) -> Self {
        Self(format!("{SOURCES}/{build}.tar.gz"))
    }

    /// The build whose source archive has this name.
    pub(crate) fn build_of_source(name: &str) -> Option<BuildId> {
        name.strip_prefix(SOURCES)?
            .strip_prefix('/')?
            .strip_suffix(".tar.gz")?
            .parse()
            .ok()
    }

    /// As text, parts separated by `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A stored blob.
pub struct Blob {
    /// Its length.
    pub bytes: u64,
    /// Its content.
    pub content: BoxStream<'static, Result<Bytes>>,
}

/// A place for blobs.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Begins a blob. It is not there before it is finished, and then it is whole.
    ///
    /// # Errors
    /// When storage fails.
    async fn create(&self, name: &BlobName) -> Result<Box<dyn BlobWriter>>;

    /// A blob, or nothing.
    ///
    /// # Errors
    /// When storage fails.
    async fn get(&self, name: &BlobName) -> Result<Option<Blob>>;

    /// Gives a blob's content a second name, without a reader of it here. The two go their own ways from then on.
    /// `false` when there is no such blob.
    ///
    /// # Errors
    /// When storage fails.
    async fn copy(&self, from: &BlobName, to: &BlobName) -> Result<bool>;

    /// The builds whose source archives are here.
    fn sources(&self) -> BoxStream<'static, Result<BuildId>>;

    /// Removes a blob, if it is there.
    ///
    /// # Errors
    /// When storage fails.
    async fn remove(&self, name: &BlobName) -> Result<()>;
}

/// A blob under way. Dropped unfinished, it never was.
#[async_trait]
pub trait BlobWriter: Send {
    /// Adds to it, and waits while too much is on its way.
    ///
    /// # Errors
    /// When storage fails.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// It is whole.
    ///
    /// # Errors
    /// When storage fails.
    async fn finish(self: Box<Self>) -> Result<()>;

    /// It is not wanted.
    ///
    /// # Errors
    /// When storage fails.
    async fn abort(self: Box<Self>) -> Result<()>;
}
