//! A build's source: fetched, checked against its digest, and unpacked.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use futures::TryStreamExt;
use harmont_client::agent::LeasedSource;
use harmont_client::{HarmontClient, HarmontError};
use sha2::{Digest, Sha256};

/// The most that an archive unpacks to, in bytes and in entries: far beyond any source.
const LARGEST: u64 = 64 << 30;
const MOST: u64 = 5_000_000;

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("the source archive cannot be fetched: {0}")]
    Fetch(#[from] HarmontError),
    #[error("the source archive is not the one that was submitted: its digest differs")]
    Digest,
    #[error("the source archive is refused: {0}")]
    Archive(String),
    #[error("the source cannot be kept on this agent: {0}")]
    Io(#[from] io::Error),
}

impl SourceError {
    /// Whether another agent would have the same trouble.
    pub(super) const fn is_the_sources(&self) -> bool {
        matches!(self, Self::Digest | Self::Archive(_))
    }
}

/// Unpacks the source into `tree`, which is made.
pub(super) async fn fetch(
    client: &HarmontClient,
    source: Option<&LeasedSource>,
    tree: PathBuf,
) -> Result<(), SourceError> {
    std::fs::create_dir_all(&tree)?;
    let Some(source) = source else {
        return Ok(());
    };
    let mut archive = tempfile::tempfile_in(&tree)?;
    let mut digest = Sha256::new();
    let mut pieces = client.source_archive(source).await?;
    while let Some(piece) = pieces.try_next().await? {
        digest.update(&piece);
        archive.write_all(&piece)?;
    }
    if let Some(wanted) = source.sha256.as_deref().filter(|wanted| !wanted.is_empty()) {
        let found: String = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if !found.eq_ignore_ascii_case(wanted) {
            return Err(SourceError::Digest);
        }
    }
    archive.rewind()?;
    let unpacked = tokio::task::spawn_blocking(move || unpack(archive, &tree)).await;
    unpacked.map_err(io::Error::other)?
}

/// Nothing is written outside `tree`: an entry that would is refused, and with it the archive.
fn unpack(archive: File, tree: &Path) -> Result<(), SourceError> {
    let refused = |error: io::Error| SourceError::Archive(error.to_string());
    let mut archive = tar::Archive::new(GzDecoder::new(io::BufReader::new(archive)));
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(false);
    let (mut bytes, mut entries) = (0, 0);
    for entry in archive.entries().map_err(refused)? {
        let mut entry = entry.map_err(refused)?;
        bytes += entry.size();
        entries += 1;
        if bytes > LARGEST || entries > MOST {
            return Err(SourceError::Archive(
                "it unpacks to more than any source has".into(),
            ));
        }
        let path = entry.path().map_err(refused)?.into_owned();
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Directory | tar::EntryType::Symlink => {}
            tar::EntryType::XGlobalHeader => continue,
            other => {
                let reason = format!("{} is of a kind that no source has ({other:?})", path.display());
                return Err(SourceError::Archive(reason));
            }
        }
        if !entry.unpack_in(tree).map_err(refused)? {
            let reason = format!("{} leads out of the source", path.display());
            return Err(SourceError::Archive(reason));
        }
    }
    Ok(())
}
