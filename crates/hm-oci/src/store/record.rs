//! What is known of an image that is stored, and what references stand for.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::manifest::LayerForm;
use super::{ImageStore, Platform, files};
use hm_vm::{ImageConfig, Result, VmError};

/// An image. Its file's time says when it was last used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Of its manifest; of its configuration where an archive has no manifest.
    pub digest: String,
    pub platform: Platform,
    /// From the bottom.
    pub layers: Vec<LayerForm>,
    pub config: ImageConfig,
}

/// What a reference stood for when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tag {
    /// In its canonical form.
    pub reference: String,
    /// What the registry calls it: an index's digest, or the image's.
    pub top: String,
    /// The image's digest.
    pub digest: String,
    pub platform: Platform,
    /// Brought by hand: no registry is asked.
    pub imported: bool,
}

/// The part of a digest that names files.
pub(super) fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

impl ImageStore {
    pub(super) fn record_path(&self, digest: &str) -> PathBuf {
        self.root().join("images").join(format!("{}.json", hex(digest)))
    }

    pub(super) fn record(&self, digest: &str) -> Result<Option<Record>> {
        if !super::manifest::is_digest(digest) {
            return Ok(None);
        }
        let record: Option<Record> = files::read(&self.record_path(digest))?;
        Ok(record.filter(|record| record.digest == digest))
    }

    pub(super) fn write_record(&self, record: &Record) -> Result<()> {
        files::private_directory(self.root())?;
        files::write(&self.record_path(&record.digest), record)
    }

    pub(super) fn records(&self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for name in files::names(&self.root().join("images"))? {
            if let Some(hex) = name.strip_suffix(".json")
                && let Some(record) = self.record(&format!("sha256:{hex}"))?
            {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Notes that an image is used now.
    pub(super) fn touch(&self, digest: &str) {
        // A time that cannot be written makes an image look older, no more.
        let _ = std::fs::File::open(self.record_path(digest))
            .and_then(|file| file.set_modified(SystemTime::now()));
    }

    pub(super) fn last_used(&self, digest: &str) -> Option<SystemTime> {
        std::fs::metadata(self.record_path(digest))
            .and_then(|metadata| metadata.modified())
            .ok()
    }

    fn tag_path(&self, reference: &str, platform: &Platform) -> PathBuf {
        let name = blake3::hash(format!("{reference}\0{platform}").as_bytes());
        self.root()
            .join("refs")
            .join(format!("{}.json", &name.to_hex()[..40]))
    }

    /// What a reference stands for, as far as is known here.
    pub(super) fn tag(&self, reference: &str, platform: &Platform) -> Result<Option<Tag>> {
        let tag: Option<Tag> = files::read(&self.tag_path(reference, platform))?;
        Ok(tag.filter(|tag| tag.reference == reference))
    }

    pub(super) fn write_tag(&self, tag: &Tag, platform: &Platform) -> Result<()> {
        files::write(&self.tag_path(&tag.reference, platform), tag)
    }

    /// Every reference and the file that it is in.
    pub(super) fn tags(&self) -> Result<Vec<(PathBuf, Tag)>> {
        let directory = self.root().join("refs");
        let mut tags = Vec::new();
        for name in files::names(&directory)? {
            let path = directory.join(name);
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(tag) = files::read(&path)?
            {
                tags.push((path, tag));
            }
        }
        Ok(tags)
    }

    /// While this is held, nothing is removed.
    pub(super) fn lock_shared(&self) -> Result<std::fs::File> {
        let path = self.root().join("lock");
        let lock = files::open_lock(&path)?;
        lock.lock_shared().map_err(VmError::io("cannot lock", path))?;
        Ok(lock)
    }

    /// While this is held, nothing is begun.
    pub(super) fn lock_exclusive(&self) -> Result<std::fs::File> {
        let path = self.root().join("lock");
        let lock = files::open_lock(&path)?;
        lock.lock().map_err(VmError::io("cannot lock", path))?;
        Ok(lock)
    }
}
