//! Root filesystem tarballs: identified by their content, unpacked once.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::SandboxConfig;
use super::layers::{FileOp, RawPath, perform};
use crate::{ImageReference, ResolvedImage, Result, VmError};

/// Unpacks an archive; runs where the owners of its files exist.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Unpack {
    archive: PathBuf,
    destination: PathBuf,
}

const PREFIX: &str = "tarball:";

/// The digest of a tarball's content. A file that was hashed before is not read again.
pub(super) fn digest(config: &SandboxConfig, path: &Path, metadata: &Metadata) -> Result<String> {
    let canonical = std::fs::canonicalize(path).map_err(VmError::io("cannot open the image", path))?;
    let seen = format!(
        "{}\0{}\0{}.{:09}",
        canonical.display(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    let record = images(config)
        .join("seen")
        .join(blake3::hash(seen.as_bytes()).to_hex().as_str());
    if let Ok(digest) = std::fs::read_to_string(&record)
        && digest.starts_with(PREFIX)
    {
        return Ok(digest);
    }
    if !is_archive(path) {
        return Err(VmError::ImageNotFound {
            image: ImageReference::new(path.to_string_lossy()),
            reason: "it is neither a root filesystem directory nor a tarball of one".into(),
        });
    }
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path).map_err(VmError::io("cannot open the image", path))?;
    io::copy(&mut file, &mut hasher).map_err(VmError::io("cannot read the image", path))?;
    let digest = format!("{PREFIX}{}", &hasher.finalize().to_hex()[..32]);
    let write = || {
        std::fs::create_dir_all(images(config).join("seen"))?;
        let temporary = record.with_extension(uuid::Uuid::new_v4().simple().to_string());
        std::fs::write(&temporary, &digest)?;
        std::fs::rename(&temporary, &record)
    };
    write().map_err(VmError::io("cannot write", &record))?;
    Ok(digest)
}

/// Whether a file begins with an entry of a tar archive, packed or not.
fn is_archive(path: &Path) -> bool {
    let first = || -> io::Result<bool> {
        let file = BufReader::new(File::open(path)?);
        let mut archive = tar::Archive::new(decompressed(file)?);
        Ok(matches!(archive.entries()?.next(), Some(Ok(_))))
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
    std::fs::create_dir_all(images(config)).map_err(VmError::io("cannot create", images(config)))?;
    // One process unpacks, the others wait for it.
    let lock_path = images(config).join(format!("{digest}.lock"));
    let lock = File::create(&lock_path).map_err(VmError::io("cannot create", &lock_path))?;
    lock.lock().map_err(VmError::io("cannot lock", &lock_path))?;
    if !destination.is_dir() {
        let temporary = images(config).join(format!("{digest}.partial"));
        unpack(Unpack {
            archive: archive.to_owned(),
            destination: temporary.clone(),
        })?;
        std::fs::rename(&temporary, &destination).map_err(VmError::io("cannot rename", &temporary))?;
    }
    Ok(Some(destination))
}

fn images(config: &SandboxConfig) -> PathBuf {
    config.data_dir.join("sandbox/images")
}

/// Does it, in this process. What an earlier try left is removed first.
pub(super) fn unpack(order: &Unpack) -> Result<()> {
    perform(FileOp::RemoveTree {
        path: RawPath(order.destination.clone()),
    })?;
    std::fs::create_dir(&order.destination).map_err(VmError::io("cannot create", &order.destination))?;
    let file = File::open(&order.archive).map_err(VmError::io("cannot open the image", &order.archive))?;
    let damaged = |error: io::Error| VmError::Corrupt {
        path: order.archive.clone(),
        reason: format!("it cannot be unpacked as a root filesystem: {error}"),
    };
    let mut archive = tar::Archive::new(decompressed(BufReader::new(file)).map_err(damaged)?);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_preserve_ownerships(has_other_ids());
    archive.set_unpack_xattrs(false);
    let mut directories = Vec::new();
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        match entry.header().entry_type() {
            // A step gets its devices from hm.
            tar::EntryType::Char | tar::EntryType::Block | tar::EntryType::Fifo => {}
            // Last, so that one that may not be written to can be filled.
            tar::EntryType::Directory => directories.push(entry),
            _ => {
                entry.unpack_in(&order.destination).map_err(damaged)?;
            }
        }
    }
    directories.sort_by(|one, other| other.path_bytes().cmp(&one.path_bytes()));
    for mut directory in directories {
        directory.unpack_in(&order.destination).map_err(damaged)?;
    }
    Ok(())
}

/// Whether files here can belong to others: a user who is alone in the step owns everything.
fn has_other_ids() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let counts = map
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    counts.sum::<u64>() > 1
}

/// The archive's bytes, whatever packed them.
fn decompressed(mut file: BufReader<File>) -> io::Result<Box<dyn Read>> {
    let magic = io::BufRead::fill_buf(&mut file)?;
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(file)?),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
        _ => Box::new(file),
    })
}
