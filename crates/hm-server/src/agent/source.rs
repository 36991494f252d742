//! A build's source: fetched, checked against its digest, and unpacked.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use harmont_client::agent::LeasedSource;
use harmont_client::{HarmontClient, HarmontError};

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

/// Unpacks the source into `tree`, which is made.
pub(super) async fn fetch(
    client: &HarmontClient,
    source: Option<&LeasedSource>,
    tree: PathBuf,
) -> Result<(), SourceError> {
    hm_vm::files::create_private(&tree)?;
    let Some(source) = source else {
        return Ok(());
    };
    let path = tree.with_extension("tar.gz");
    let mut archive = std::fs::File::create(&path)?;
    let mut pieces = client.source_archive(source).await?;
    while let Some(piece) = pieces.try_next().await? {
        archive.write_all(&piece)?;
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
    use hm_vm::oci::UnpackLimits;
    use hm_vm::oci::unpack::{Form, Unpack, UnpackError, unpack};

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
        Err(UnpackError::Io { source, .. }) => Err(SourceError::Io(source)),
        Err(error) => Err(SourceError::Archive(error.to_string())),
    }
}

#[cfg(any(not(target_os = "linux"), hm_elsewhere))]
fn unpack(_: &Path, _: &Path, _: Option<String>) -> Result<(), SourceError> {
    Err(SourceError::Archive(
        "this agent's system cannot unpack it: agents run on Linux".into(),
    ))
}
