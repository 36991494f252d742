//! Images made ready: their layers fetched and unpacked, as many as are missing.

use std::fs::File;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};

use super::find::{Asked, parse};
use super::local::Local;
use super::manifest::LayerForm;
use super::record::{Record, hex};
use super::remote::Endpoint;
use super::unpack::{Form, Unpack};
use super::{ImageProgress, ImageStore, download, files};
use hm_vm::blocking;
use hm_vm::{ImageConfig, ImageReference, ResolvedImage, Result, VmError};

/// An image that is ready. It is not removed while this lives.
#[derive(Debug)]
pub struct OpenImage {
    /// The directories to stack, topmost first.
    pub layers: Vec<PathBuf>,
    /// How it is run.
    pub config: ImageConfig,
    _lease: File,
}

/// Where the layers that are missing come from.
pub(super) enum Origin {
    Registry(Vec<Endpoint>),
    Local(Box<Local>),
    /// Nowhere: somebody brought it by hand.
    Unknown,
}

/// A packed layer that is at hand.
struct Packed {
    file: PathBuf,
    offset: u64,
    length: Option<u64>,
    /// Not compared yet.
    digest: Option<String>,
    /// Ours, to be removed afterwards.
    downloaded: bool,
}

impl ImageStore {
    /// Makes an image ready: fetches and unpacks the layers that are missing.
    ///
    /// # Errors
    /// [`VmError::ImageNotFound`] when it cannot be had any more; when a layer is damaged, hostile or too much.
    pub async fn open_image(&self, image: &ResolvedImage) -> Result<OpenImage> {
        let lease = self.lease(&image.digest)?;
        let record = match self.record(&image.digest)? {
            Some(record) => record,
            None => self.learn_again(image).await?,
        };
        self.touch(&record.digest);
        self.complete(image, &record, None).await?;
        let diff_ids: Vec<_> = record.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let layers = self.stack(diff_ids.iter().cloned())?;
        let store = self.clone();
        // Nobody waits for the disk.
        drop(tokio::task::spawn_blocking(move || store.sync(&diff_ids)));
        Ok(OpenImage {
            layers,
            config: record.config,
            _lease: lease,
        })
    }

    /// How an image is run.
    ///
    /// # Errors
    /// When the image is not stored.
    pub fn config(&self, image: &ResolvedImage) -> Result<ImageConfig> {
        let record = self
            .record(&image.digest)?
            .ok_or_else(|| VmError::ImageNotFound {
                image: image.reference.clone(),
                reason: "it was removed in the meantime; run it again".into(),
            })?;
        Ok(record.config)
    }

    pub(super) fn lease(&self, digest: &str) -> Result<File> {
        files::private_directory(self.root())?;
        let _shared = self.lock_shared()?;
        let path = self.lease_path(digest);
        let lease = files::open_lock(&path)?;
        lease.lock_shared().map_err(VmError::io("cannot lock", path))?;
        Ok(lease)
    }

    pub(super) fn lease_path(&self, digest: &str) -> PathBuf {
        self.root().join("use").join(hex(digest))
    }

    /// What an image said of itself was removed: its registry is asked for that very image.
    async fn learn_again(&self, image: &ResolvedImage) -> Result<Record> {
        if !image.reference.is_path() {
            let endpoints = self
                .remotes()
                .endpoints(&parse(&image.reference)?, self.settings());
            let mut last = Asked::Unusable("no registry is known for it".into());
            for endpoint in &endpoints {
                let learned = match endpoint
                    .manifest(Some(&image.digest), self.settings().retries)
                    .await
                {
                    Ok((manifest, _)) => self.learn(&image.digest, &manifest, &endpoints).await,
                    Err(failure) => Err(Asked::Failed(failure, endpoint.place.host.clone())),
                };
                match learned {
                    Ok(()) => break,
                    Err(asked) => last = asked,
                }
            }
            return self
                .record(&image.digest)?
                .ok_or_else(|| last.into_error(&image.reference));
        }
        let found = self.resolve_path(&image.reference).await?;
        match found {
            Some(found) if found.digest == image.digest => {}
            _ => {
                return Err(VmError::ImageNotFound {
                    image: image.reference.clone(),
                    reason: "what lies there is another image now; run it again".into(),
                });
            }
        }
        self.record(&image.digest)?.ok_or_else(|| VmError::ImageNotFound {
            image: image.reference.clone(),
            reason: "it was removed in the meantime; run it again".into(),
        })
    }

    /// Fetches and unpacks the layers that are missing.
    pub(super) async fn complete(
        &self,
        image: &ResolvedImage,
        record: &Record,
        origin: Option<Origin>,
    ) -> Result<()> {
        let shown = image.reference.as_str();
        let mut missing = Vec::new();
        for (number, layer) in record.layers.iter().enumerate() {
            if self.layer(&layer.diff_id)?.1.is_none() {
                missing.push((number, layer.clone()));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.tell(
            shown,
            &ImageProgress::Resolved {
                digest: record.digest.clone(),
                layers: record.layers.len(),
                missing: missing.len(),
                bytes: missing
                    .iter()
                    .fold(0u64, |sum, (_, layer)| sum.saturating_add(layer.size)),
            },
        );
        let origin = match origin {
            Some(origin) => origin,
            None => self.origin(&image.reference).await?,
        };
        let total = record.layers.len();
        let jobs = missing.into_iter().map(|(number, layer)| {
            let origin = &origin;
            async move {
                let made = self.make_layer(shown, number, &layer, origin).await;
                made.map_err(|why| {
                    VmError::Other(format!(
                        "image {shown}: layer {} of {total} ({}): {why}",
                        number + 1,
                        layer.digest.as_ref().unwrap_or(&layer.diff_id)
                    ))
                })
            }
        });
        futures::stream::iter(jobs)
            .buffer_unordered(self.settings().parallelism.max(1))
            .try_collect::<Vec<()>>()
            .await?;
        self.tell(shown, &ImageProgress::Done);
        Ok(())
    }

    async fn origin(&self, reference: &ImageReference) -> Result<Origin> {
        if reference.is_path() {
            return Ok(match self.open_local(Path::new(reference.as_str())).await? {
                Some(local) => Origin::Local(Box::new(local)),
                None => Origin::Unknown,
            });
        }
        let name = parse(reference)?;
        let imported = self
            .tag(&name.canonical(), &self.platform())?
            .is_some_and(|tag| tag.imported);
        Ok(if imported {
            Origin::Unknown
        } else {
            Origin::Registry(self.remotes().endpoints(&name, self.settings()))
        })
    }

    /// One layer: whoever comes first makes it, the others wait.
    async fn make_layer(&self, shown: &str, number: usize, layer: &LayerForm, origin: &Origin) -> Result<()> {
        let (name, _) = self.layer(&layer.diff_id)?;
        let path = self.layer_lock_path(&name);
        let lock = blocking(move || {
            let lock = files::open_lock(&path)?;
            lock.lock().map_err(VmError::io("cannot lock", path))?;
            Ok(lock)
        })
        .await?;
        let digest = layer.digest.clone().unwrap_or_else(|| layer.diff_id.clone());
        let done = ImageProgress::LayerDone {
            layer: number,
            digest: digest.clone(),
        };
        if self.layer(&layer.diff_id)?.1.is_some() {
            self.tell(shown, &done);
            return Ok(());
        }
        let packed = self.packed(shown, number, layer, origin).await?;
        self.tell(
            shown,
            &ImageProgress::Unpacking {
                layer: number,
                digest,
            },
        );
        let (store, diff_id) = (self.clone(), layer.diff_id.clone());
        // The lock goes along: this may be given up while the layer is still being unpacked.
        blocking(move || {
            let unpacked = store.unpack(&name, &diff_id, &packed);
            if packed.downloaded {
                files::remove(&packed.file)?;
            }
            drop(lock);
            unpacked
        })
        .await?;
        self.tell(shown, &done);
        Ok(())
    }

    async fn packed(&self, shown: &str, number: usize, layer: &LayerForm, origin: &Origin) -> Result<Packed> {
        match origin {
            Origin::Unknown => Err(VmError::Other(
                "it is gone, and it was brought by hand: import the image again".into(),
            )),
            Origin::Local(local) => {
                let member = local.find(layer).map_err(VmError::Other)?;
                Ok(Packed {
                    file: member.file,
                    offset: member.offset,
                    length: Some(member.length),
                    digest: layer.digest.clone(),
                    downloaded: false,
                })
            }
            Origin::Registry(endpoints) => {
                let digest = layer.digest.as_deref().unwrap_or_default();
                self.check_room(layer.size)?;
                let file = self.root().join("blobs").join(format!("{}.partial", hex(digest)));
                let blobs = self.root().join("blobs");
                hm_fs::create_private(&blobs).map_err(VmError::io("cannot create", blobs))?;
                let tell = |done| {
                    let progress = ImageProgress::Downloading {
                        layer: number,
                        digest: digest.to_owned(),
                        done,
                        total: layer.size,
                    };
                    self.tell(shown, &progress);
                };
                let wanted = (digest, layer.size);
                download::fetch(endpoints, wanted, &file, self.settings().retries, tell)
                    .await
                    .map_err(|failure| {
                        let host = endpoints
                            .last()
                            .map_or("", |endpoint| endpoint.place.host.as_str());
                        VmError::Other(super::find::reason(&failure, host))
                    })?;
                Ok(Packed {
                    file,
                    offset: 0,
                    length: None,
                    digest: None,
                    downloaded: true,
                })
            }
        }
    }

    fn check_room(&self, size: u64) -> Result<()> {
        let free = rustix::fs::statvfs(self.root())
            .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        let keep = self.settings().limits.keep_free;
        if size.saturating_add(keep) > free {
            return Err(VmError::Other(format!(
                "it has {size} bytes and the disk has {free} left, of which {keep} stay free; make room by `hm image rm` \
                 or `hm cache clean`"
            )));
        }
        Ok(())
    }

    fn unpack(&self, name: &str, diff_id: &str, packed: &Packed) -> Result<()> {
        let (directory, partial) = (self.layer_dir(name), self.layer_dir(&format!("{name}.partial")));
        let parent = self.root().join("l");
        hm_fs::create_private(&parent).map_err(VmError::io("cannot create", &parent))?;
        // Of a machine that lost its power, or whose report did.
        if directory.exists() {
            self.remove_tree(directory.clone())?;
        }
        let order = Unpack {
            archive: packed.file.clone(),
            offset: packed.offset,
            length: packed.length,
            destination: partial.clone(),
            form: Form::Layer,
            digest: packed.digest.clone(),
            diff_id: Some(diff_id.to_owned()),
            limits: self.settings().limits,
        };
        if let Err(error) = self.files().unpack(order, self.report_path(name)) {
            // What it left is found again by the next try, too.
            let _ = self.remove_tree(partial);
            return Err(error);
        }
        std::fs::rename(&partial, &directory).map_err(VmError::io("cannot rename", partial))
    }
}
