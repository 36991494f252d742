//! Blobs through `object_store`: in a directory here, in a bucket when there are many machines.

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::{Error, ObjectStore, ObjectStoreExt, WriteMultipart};

use crate::BuildId;
use crate::blobs::{Blob, BlobError, BlobName, BlobWriter, Blobs, Result, SOURCES};

/// Parts of a blob that may be on their way to storage at one time, 5 MiB each.
const PARTS: usize = 2;

/// [`Blobs`] in a directory.
#[derive(Debug, Clone)]
pub struct DirectoryBlobs {
    store: Arc<dyn ObjectStore>,
}

impl DirectoryBlobs {
    /// Blobs in this directory, which is made. What is written is on the disk before it is said to be there, and what an
    /// earlier process left unfinished is removed: a directory has one process.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let name = BlobName(root.display().to_string());
        hm_fs::create_private(root).map_err(|source| BlobError::Storage {
            name: name.0.clone(),
            source: Box::new(source),
        })?;
        clear(&root.join(SOURCES)).map_err(|source| BlobError::Storage {
            name: name.0.clone(),
            source: Box::new(source),
        })?;
        let store = LocalFileSystem::new_with_prefix(root).map_err(failed(&name))?;
        let store = store.with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
        })
    }
}

/// Removes unfinished blobs. `object_store` gives them a `#` and a number, and lists none of them.
fn clear(directory: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let unfinished = name.to_str().and_then(|name| name.rsplit_once('#'));
        if unfinished.is_some_and(|(_, number)| number.bytes().all(|digit| digit.is_ascii_digit())) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn failed(name: &BlobName) -> impl FnOnce(Error) -> BlobError + use<> {
    let name = name.0.clone();
    move |source| BlobError::Storage {
        name,
        source: Box::new(source),
    }
}

fn path(name: &BlobName) -> object_store::path::Path {
    object_store::path::Path::from(name.as_str())
}

#[async_trait]
impl Blobs for DirectoryBlobs {
    async fn create(&self, name: &BlobName) -> Result<Box<dyn BlobWriter>> {
        let upload = self
            .store
            .put_multipart(&path(name))
            .await
            .map_err(failed(name))?;
        Ok(Box::new(Writer {
            name: name.clone(),
            upload: WriteMultipart::new(upload),
        }))
    }

    async fn get(&self, name: &BlobName) -> Result<Option<Blob>> {
        let found = match self.store.get(&path(name)).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed(name))?,
        };
        let (bytes, name) = (found.meta.size, name.clone());
        let content = found.into_stream().map_err(move |error| failed(&name)(error));
        Ok(Some(Blob {
            bytes,
            content: content.boxed(),
        }))
    }

    async fn copy(&self, from: &BlobName, to: &BlobName) -> Result<bool> {
        match self.store.copy(&path(from), &path(to)).await {
            Err(Error::NotFound { .. }) => Ok(false),
            done => done.map(|()| true).map_err(failed(from)),
        }
    }

    fn sources(&self) -> BoxStream<'static, Result<BuildId>> {
        let root = BlobName(SOURCES.to_owned());
        let listed = self.store.list(Some(&path(&root)));
        listed
            .map_err(move |error| failed(&root)(error))
            .try_filter_map(async |found| Ok(BlobName::build_of_source(found.location.as_ref())))
            .boxed()
    }

    async fn remove(&self, name: &BlobName) -> Result<()> {
        match self.store.delete(&path(name)).await {
            Err(Error::NotFound { .. }) => Ok(()),
            done => done.map_err(failed(name)),
        }
    }
}

struct Writer {
    name: BlobName,
    upload: WriteMultipart,
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.upload
            .wait_for_capacity(PARTS)
            .await
            .map_err(failed(&self.name))?;
        self.upload.put(bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.upload.finish().await.map_err(failed(&self.name))?;
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.upload.abort().await.map_err(failed(&self.name))
    }
}
