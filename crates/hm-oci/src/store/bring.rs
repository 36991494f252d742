//! Images brought by hand: pulled by name, taken from a root filesystem.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::find::{Asked, parse};
use super::local::{Local, Temporary};
use super::manifest::LayerForm;
use super::open::Origin;
use super::record::{Record, Tag};
use super::{ImageStore, files, unpack};
use hm_vm::blocking;
use hm_vm::{ImageConfig, ImageReference, ResolvedImage, Result, VmError};

impl ImageStore {
    /// Fetches an image and all its layers, or finds that the one that is here is the current one.
    ///
    /// # Errors
    /// [`VmError::ImageNotFound`] says why and what would help; a registry that cannot be reached is an error.
    pub async fn pull(&self, image: &ImageReference) -> Result<ResolvedImage> {
        let resolved = if image.is_path() {
            self.resolve_path(image)
                .await?
                .ok_or_else(|| VmError::ImageNotFound {
                    image: image.clone(),
                    reason:
                        "it is a root filesystem, which is used where it lies; `hm image import` stores one"
                            .into(),
                })?
        } else {
            let name = parse(image)?;
            self.forget_found();
            let stored = self.stored(&name.canonical())?.filter(|tag| !tag.imported);
            let digest = self.ask(&name, stored.as_ref()).await;
            ResolvedImage {
                reference: image.clone(),
                digest: digest.map_err(|asked: Asked| asked.into_error(image))?,
            }
        };
        self.open_image(&resolved).await?;
        Ok(resolved)
    }

    /// Takes a root filesystem, a directory or a tarball of one, as an image of one layer, and calls it `name`.
    ///
    /// # Errors
    /// When it is damaged or hostile; nothing is called by that name then.
    pub async fn import_root(&self, path: &Path, name: &ImageReference) -> Result<ResolvedImage> {
        let canonical = parse(name)?.canonical();
        let (store, from) = (self.clone(), path.to_owned());
        let (local, layer) = blocking(move || store.one_layer(&from)).await?;
        let platform = self.platform();
        let identity = format!("{platform} {}", layer.diff_id);
        let record = Record {
            digest: unpack::digest(identity.as_bytes()),
            platform: platform.clone(),
            layers: vec![layer],
            config: ImageConfig::default(),
        };
        let image = ResolvedImage {
            reference: name.clone(),
            digest: record.digest.clone(),
        };
        let _lease = self.lease(&image.digest)?;
        self.write_record(&record)?;
        self.complete(&image, &record, Some(Origin::Local(Box::new(local))))
            .await?;
        let tag = Tag {
            reference: canonical,
            top: record.digest.clone(),
            digest: record.digest,
            platform: platform.clone(),
            imported: true,
        };
        self.write_tag(&tag, &platform)?;
        self.forget_found();
        Ok(image)
    }

    fn one_layer(&self, path: &Path) -> Result<(Local, LayerForm)> {
        files::private_directory(self.root())?;
        let blobs = self.root().join("blobs");
        hm_fs::create_private(&blobs).map_err(VmError::io("cannot create", &blobs))?;
        let metadata = std::fs::metadata(path).map_err(|error| VmError::ImageNotFound {
            image: ImageReference::new(path.to_string_lossy()),
            reason: error.to_string(),
        })?;
        let local = if metadata.is_dir() {
            let temporary = Temporary(blobs.join(format!("{}.tar", uuid::Uuid::new_v4().simple())));
            pack(path, &temporary.0).map_err(VmError::io("cannot pack", path))?;
            Local::whole(path.to_owned(), Some(temporary))
        } else {
            Local::whole(path.to_owned(), None)
        };
        let file = local.file().to_owned();
        let damaged = |error: unpack::UnpackError| {
            VmError::Other(format!("{} cannot be imported: {error}", path.display()))
        };
        let diff_id = unpack::diff_id(&file, &blobs, self.settings().limits).map_err(damaged)?;
        let layer = LayerForm {
            diff_id,
            digest: None,
            size: std::fs::metadata(&file).map_or(0, |metadata| metadata.len()),
            member: None,
        };
        Ok((local, layer))
    }
}

fn pack(directory: &Path, to: &PathBuf) -> io::Result<()> {
    let mut builder = tar::Builder::new(io::BufWriter::with_capacity(128 << 10, File::create_new(to)?));
    builder.follow_symlinks(false);
    builder.sparse(false);
    builder.append_dir_all(".", directory)?;
    builder.into_inner()?.into_inner()?.sync_data()
}
