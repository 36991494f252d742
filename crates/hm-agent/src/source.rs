//! A build's source: fetched, checked against its digest, and unpacked.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::TryStreamExt;
use harmont_client::agent::LeasedSource;
use harmont_client::{HarmontClient, HarmontError, SourceHosts};
use tokio::time::Instant;

/// The largest archive whose size nobody has told before: as much as the server takes.
const LARGEST: u64 = 1 << 30;
/// How long an archive may take in all.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How slowly it may come, in bytes a second, after a while to begin.
const SLOWEST: u64 = 8 << 10;
const BEGINNING: Duration = Duration::from_secs(60);

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("the source archive cannot be fetched: {0}")]
    Fetch(#[from] HarmontError),
    #[error("the source archive is refused: {0}")]
    Archive(String),
    #[error("the source cannot be kept on this agent: {0}")]
    Io(#[from] io::Error),
}

impl SourceError {
    /// Whether another agent would have the same trouble.
    pub(super) const fn is_the_sources(&self) -> bool {
        matches!(self, Self::Archive(_))
    }
}

/// How much of an archive has come, and how fast.
struct Pace {
    began: Instant,
    bytes: u64,
    most: u64,
}

impl Pace {
    fn new(most: u64) -> Self {
        Self {
            began: Instant::now(),
            bytes: 0,
            most,
        }
    }

    fn came(&mut self, bytes: usize) -> Result<(), SourceError> {
        self.bytes += bytes as u64;
        if self.bytes > self.most {
            let message = format!("it has more than {} bytes", self.most);
            return Err(SourceError::Archive(message));
        }
        let since = self.began.elapsed().saturating_sub(BEGINNING);
        if self.bytes < since.as_secs() * SLOWEST {
            let message = format!("it comes too slowly: {} bytes so far", self.bytes);
            return Err(SourceError::Archive(message));
        }
        Ok(())
    }
}

/// Unpacks the source into `tree`, which is made.
pub(super) async fn fetch(
    client: &HarmontClient,
    source: Option<&LeasedSource>,
    hosts: &SourceHosts,
    tree: PathBuf,
) -> Result<(), SourceError> {
    hm_fs::create_private(&tree)?;
    let Some(source) = source else {
        return Ok(());
    };
    let path = tree.with_extension("tar.gz");
    let mut archive = std::fs::File::create(&path)?;
    let is_foreign = source.token.is_none();
    let fetched = async {
        let mut pieces = client.source_archive(source, hosts).await?;
        let mut pace = Pace::new(source.bytes.unwrap_or(LARGEST));
        while let Some(piece) = pieces.try_next().await? {
            pace.came(piece.len())?;
            archive.write_all(&piece)?;
        }
        Ok(())
    };
    match tokio::time::timeout(LONGEST, fetched).await {
        Ok(Err(SourceError::Fetch(error))) if is_foreign && !error.is_transient() => {
            // Whoever else fetches it is answered the same.
            return Err(SourceError::Archive(format!("it cannot be fetched: {error}")));
        }
        Ok(fetched) => fetched?,
        Err(_) => return Err(SourceError::Archive("it does not come to an end".into())),
    }
    let digest = source.sha256.as_deref().filter(|digest| !digest.is_empty());
    let digest = digest.map(|digest| format!("sha256:{}", digest.to_lowercase()));
    let unpacked = tokio::task::spawn_blocking(move || {
        unpack(&path, &tree, digest)?;
        std::fs::remove_file(&path).map_err(SourceError::Io)
    });
    unpacked.await.map_err(io::Error::other)?
}

/// An archive is somebody else's: images' unpacker lets nothing in it reach anything outside `tree`.
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
fn unpack(archive: &Path, tree: &Path, digest: Option<String>) -> Result<(), SourceError> {
    use hm_oci::UnpackLimits;
    use hm_oci::unpack::{Form, Unpack, UnpackError, unpack};

    let order = Unpack {
        archive: archive.to_owned(),
        offset: 0,
        length: None,
        destination: tree.to_owned(),
        form: Form::Source,
        digest,
        diff_id: None,
        limits: UnpackLimits::default(),
    };
    match unpack(&order) {
        Ok(_) => Ok(()),
        Err(UnpackError::Io { source, .. }) if is_the_machines(&source) => Err(SourceError::Io(source)),
        Err(error) => Err(SourceError::Archive(error.to_string())),
    }
}

/// Whether a call failed because of what this machine has or has not. Every other failure an archive brings along: an entry that
/// no file system takes fails on every agent.
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
fn is_the_machines(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    use rustix::io::Errno;

    let scarce = [Errno::MFILE, Errno::NFILE, Errno::IO, Errno::DQUOT].map(Errno::raw_os_error);
    matches!(
        error.kind(),
        OutOfMemory | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    ) || error.raw_os_error().is_some_and(|errno| scarce.contains(&errno))
}

#[cfg(any(not(target_os = "linux"), hm_elsewhere))]
fn unpack(_: &Path, _: &Path, _: Option<String>) -> Result<(), SourceError> {
    Err(SourceError::Archive(
        "this agent's system cannot unpack it: agents run on Linux".into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn archive_that_drips_or_is_too_large_is_the_sources_fault() {
        let mut pace = Pace::new(1 << 20);
        assert!(pace.came(1 << 20).is_ok());
        assert!(pace.came(1).is_err_and(|error| error.is_the_sources()));

        let mut pace = Pace::new(u64::MAX);
        let mut seconds = 0;
        while pace.came(1).is_ok() {
            tokio::time::advance(Duration::from_secs(1)).await;
            seconds += 1;
        }
        assert_eq!(seconds, 61);

        let mut pace = Pace::new(u64::MAX);
        for _ in 0..3600 {
            assert!(pace.came(10_000).is_ok());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }
}
