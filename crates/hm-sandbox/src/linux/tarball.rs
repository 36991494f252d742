//! Root filesystem tarballs: identified by their content, unpacked once. And the unpacking of all archives.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layers::{FileOp, FileReply, RawPath, perform};
use crate::surface::SandboxConfig;
use hm_oci::Unpacking;
use hm_oci::unpack::{self, Form};
use hm_vm::{ImageReference, ResolvedImage, Result, VmError};

/// Unpacks an archive; runs where the owners of its files exist.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Unpack {
    pub order: unpack::Unpack,
    /// Where to write what came of it.
    pub report: Option<PathBuf>,
}

const PREFIX: &str = "tarball:";

/// The file that remembers what a file was found to be: one that was looked at before is not read again.
pub(super) fn seen_path(config: &SandboxConfig, path: &Path, metadata: &Metadata) -> Result<PathBuf> {
    let canonical = std::fs::canonicalize(path).map_err(VmError::io("cannot open the image", path))?;
    let seen = format!(
        "{}\0{}\0{}.{:09}",
        canonical.display(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    Ok(images(config)
        .join("seen")
        .join(blake3::hash(seen.as_bytes()).to_hex().as_str()))
}

/// What a file was found to be.
pub(super) fn seen(record: &Path) -> Option<String> {
    let digest = String::from_utf8(hm_fs::read_sealed(record).ok()??).ok()?;
    (digest.starts_with(PREFIX) || digest.starts_with("sha256:")).then_some(digest)
}

/// Remembers what a file was found to be.
pub(super) fn remember(record: &Path, digest: &str) -> Result<()> {
    let write = || {
        hm_fs::create_private(record.parent().unwrap_or(record))?;
        let temporary = record.with_extension(uuid::Uuid::new_v4().simple().to_string());
        std::fs::write(&temporary, hm_fs::seal(digest.as_bytes()))?;
        hm_fs::rename_over(&temporary, record)
    };
    write().map_err(VmError::io("cannot write", record))
}

/// The digest of a tarball's content.
pub(super) fn digest(path: &Path) -> Result<String> {
    if !is_archive(path) {
        return Err(VmError::ImageNotFound {
            image: ImageReference::new(path.to_string_lossy()),
            reason: "it is neither an image nor a root filesystem: neither a directory nor a tar archive"
                .into(),
        });
    }
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path).map_err(VmError::io("cannot open the image", path))?;
    io::copy(&mut file, &mut hasher).map_err(VmError::io("cannot read the image", path))?;
    Ok(format!("{PREFIX}{}", &hasher.finalize().to_hex()[..32]))
}

/// Whether a file begins with an entry of a tar archive, packed or not.
fn is_archive(path: &Path) -> bool {
    let first = || -> io::Result<bool> {
        let mut block = [0; 512];
        unpack::decompressing(path)?.read_exact(&mut block)?;
        let header = tar::Header::from_byte_slice(&block);
        Ok(header.cksum().is_ok_and(|sum| sum > 0) && header.entry_size().is_ok())
    };
    first().unwrap_or(false)
}

/// The directory that a tarball's image is unpacked in; `None` when the image is no tarball.
pub(super) fn unpacked(
    config: &SandboxConfig,
    image: &ResolvedImage,
    archive: &Path,
    unpack: &dyn Fn(Unpack) -> Result<()>,
) -> Result<Option<PathBuf>> {
    let Some(digest) = image.digest.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    let destination = images(config).join(digest);
    if destination.is_dir() {
        return Ok(Some(destination));
    }
    hm_fs::create_private(&images(config)).map_err(VmError::io("cannot create", images(config)))?;
    // One process unpacks, the others wait for it.
    let lock_path = images(config).join(format!("{digest}.lock"));
    let lock = hm_fs::open_lock(&lock_path).map_err(VmError::io("cannot create", &lock_path))?;
    lock.lock().map_err(VmError::io("cannot lock", &lock_path))?;
    if !destination.is_dir() {
        let temporary = images(config).join(format!("{digest}.partial"));
        let order = unpack::Unpack {
            archive: archive.to_owned(),
            offset: 0,
            length: None,
            destination: temporary.clone(),
            form: Form::RootFilesystem,
            digest: None,
            diff_id: None,
            limits: config.images.limits,
        };
        let damaged = |error: VmError| VmError::Other(format!("image {}: {error}", archive.display()));
        unpack(Unpack { order, report: None }).map_err(damaged)?;
        std::fs::rename(&temporary, &destination).map_err(VmError::io("cannot rename", &temporary))?;
    }
    Ok(Some(destination))
}

fn images(config: &SandboxConfig) -> PathBuf {
    config.data_dir.join("sandbox/images")
}

/// Does it, in this process. What an earlier try left is removed first.
pub(super) fn unpack(unpack: &Unpack) -> Result<()> {
    let destination = &unpack.order.destination;
    perform(FileOp::RemoveTree {
        path: RawPath(destination.clone()),
    })?;
    std::fs::create_dir(destination).map_err(VmError::io("cannot create", destination))?;
    let unpacked = unpack::unpack(&unpack.order).map_err(|error| VmError::Other(error.to_string()))?;
    let Some(report) = &unpack.report else {
        return Ok(());
    };
    let measured = perform(FileOp::Measure {
        path: RawPath(destination.clone()),
    })?;
    let own = std::fs::metadata(destination).map_err(VmError::io("cannot measure", destination))?;
    let blocks = match measured {
        FileReply::Measured { bytes, .. } => bytes + own.blocks() * 512,
        _ => 0,
    };
    Unpacking::new(unpacked, blocks).write(report)
}
