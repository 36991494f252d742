//! What is stored: listed, measured, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::find::parse;
use super::manifest::is_digest;
use super::record::Record;
use super::{ImageStore, files};
use hm_vm::{ImageReference, Result, StoredImage, VmError};

/// A part of a download that nobody went on with.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl ImageStore {
    /// All images.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<StoredImage>> {
        let tags = self.tags()?;
        let mut list = Vec::new();
        for record in self.records()? {
            let named = tags.iter().filter(|(_, tag)| tag.digest == record.digest);
            let mut references: Vec<_> = named.map(|(_, tag)| tag.reference.clone()).collect();
            references.sort();
            list.push(StoredImage {
                references,
                bytes: self.blocks(&record)?,
                layers: record.layers.len(),
                platform: record.platform.to_string(),
                used: self.last_used(&record.digest),
                digest: record.digest,
            });
        }
        list.sort_by(|one, other| (&one.references, &one.digest).cmp(&(&other.references, &other.digest)));
        Ok(list)
    }

    fn blocks(&self, record: &Record) -> Result<u64> {
        let mut layers = BTreeMap::new();
        for layer in &record.layers {
            if let (name, Some(report)) = self.layer(&layer.diff_id)? {
                layers.insert(name, report.blocks);
            }
        }
        Ok(layers.values().sum())
    }

    /// What all of them take up: bytes of real blocks, each layer once, and what is being fetched.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn usage(&self) -> Result<u64> {
        let mut bytes = 0;
        for name in files::names(&self.root().join("l"))? {
            let report: Option<super::Unpacking> = files::read(&self.report_path(&name))?;
            bytes += report.map_or(0, |report| report.blocks);
        }
        let blobs = self.root().join("blobs");
        for name in files::names(&blobs)? {
            use std::os::unix::fs::MetadataExt;
            bytes += std::fs::metadata(blobs.join(name)).map_or(0, |metadata| metadata.blocks() * 512);
        }
        Ok(bytes)
    }

    /// Removes an image by a reference or a digest, and returns how many bytes of real blocks that freed. Layers
    /// that others have stay.
    ///
    /// # Errors
    /// When there is none, or a living process uses it.
    pub fn remove(&self, image: &str) -> Result<u64> {
        self.forget_found();
        let reference = ImageReference::new(image);
        let gone = || VmError::ImageNotFound {
            image: reference.clone(),
            reason: "it is not stored; `hm image ls` tells what is".into(),
        };
        let trash = {
            let _exclusive = self.lock_exclusive()?;
            let tags = self.tags()?;
            let digest = if is_digest(image) {
                image.to_owned()
            } else {
                let canonical = parse(&reference)?.canonical();
                let named: Vec<_> = tags
                    .iter()
                    .filter(|(_, tag)| tag.reference == canonical)
                    .collect();
                let digest = named
                    .first()
                    .map(|(_, tag)| tag.digest.clone())
                    .ok_or_else(gone)?;
                let others = tags
                    .iter()
                    .any(|(_, tag)| tag.digest == digest && tag.reference != canonical);
                if others {
                    for (path, _) in named {
                        files::remove(path)?;
                    }
                    return Ok(0);
                }
                digest
            };
            if self.record(&digest)?.is_none() {
                return Err(gone());
            }
            if !self.forget(&digest)? {
                return Err(VmError::Other(format!(
                    "image {image} is in use by a run; try again when that has ended"
                )));
            }
            self.sweep()?
        };
        self.delete(trash)
    }

    /// Removes the images that were used longest ago until all of them take up at most `max_bytes`, and those not
    /// used for `unused_for`; returns how many bytes that freed. An image in use stays; those in `wanted` go last, and
    /// never for their age.
    ///
    /// # Errors
    /// When one is there and cannot be removed.
    pub fn collect(
        &self,
        max_bytes: u64,
        unused_for: Option<Duration>,
        wanted: &BTreeSet<String>,
    ) -> Result<u64> {
        let mut images: Vec<_> = self
            .records()?
            .into_iter()
            .map(|record| {
                (
                    wanted.contains(&record.digest),
                    self.last_used(&record.digest),
                    record.digest,
                )
            })
            .collect();
        images.sort();
        let mut freed = self.reclaim()?;
        for (is_wanted, used, digest) in images {
            let old = |age: Duration| unused_for.is_some_and(|most| age > most);
            let too_old = !is_wanted && used.and_then(|used| used.elapsed().ok()).is_some_and(old);
            if !too_old && self.usage()? <= max_bytes {
                continue;
            }
            let trash = {
                let _exclusive = self.lock_exclusive()?;
                if !self.forget(&digest)? {
                    continue;
                }
                self.sweep()?
            };
            freed += self.delete(trash)?;
        }
        Ok(freed)
    }

    /// Removes what killed processes left: layers that no image has, parts of downloads that nobody went on with.
    ///
    /// # Errors
    /// When something is there and cannot be removed.
    pub fn reclaim(&self) -> Result<u64> {
        if !self.root().exists() {
            return Ok(0);
        }
        let trash = {
            let _exclusive = self.lock_exclusive()?;
            self.sweep()?
        };
        let blobs = self.root().join("blobs");
        for name in files::names(&blobs)? {
            let path = blobs.join(name);
            let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > FORGOTTEN)) {
                files::remove(&path)?;
            }
        }
        self.delete(trash)
    }

    /// Forgets an image and its names; not one that a living process uses. With the exclusive lock held.
    fn forget(&self, digest: &str) -> Result<bool> {
        let path = self.lease_path(digest);
        let lease = files::open_lock(&path)?;
        if lease.try_lock().is_err() {
            return Ok(false);
        }
        for (path, tag) in self.tags()? {
            if tag.digest == digest {
                files::remove(&path)?;
            }
        }
        files::remove(&self.record_path(digest))?;
        files::remove(&path)?;
        Ok(true)
    }

    /// Takes away the layers that no image has. With the exclusive lock held.
    fn sweep(&self) -> Result<Vec<PathBuf>> {
        let records = self.records()?;
        let mut kept = BTreeSet::new();
        for layer in records.iter().flat_map(|record| &record.layers) {
            kept.insert(self.layer(&layer.diff_id)?.0);
        }
        let trash = self.root().join("trash");
        let mut thrown: Vec<_> = files::names(&trash)?
            .into_iter()
            .map(|name| trash.join(name))
            .collect();
        for name in files::names(&self.root().join("l"))? {
            let layer = name.strip_suffix(".partial").unwrap_or(&name);
            if kept.contains(layer) && layer == name {
                continue;
            }
            // Somebody may be at it.
            let lock = files::open_lock(&self.layer_lock_path(layer))?;
            if lock.try_lock().is_err() {
                continue;
            }
            hm_fs::create_private(&trash).map_err(VmError::io("cannot create", &trash))?;
            let path = trash.join(uuid::Uuid::new_v4().simple().to_string());
            let directory = self.layer_dir(&name);
            std::fs::rename(&directory, &path).map_err(VmError::io("cannot remove", directory))?;
            if layer == name {
                files::remove(&self.report_path(layer))?;
            }
            thrown.push(path);
        }
        Ok(thrown)
    }

    fn delete(&self, trash: Vec<PathBuf>) -> Result<u64> {
        let mut freed = 0;
        for path in trash {
            freed += self.remove_tree(path)?;
        }
        Ok(freed)
    }
}
