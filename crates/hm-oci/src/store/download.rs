//! One blob from a registry into a file, in as many pieces as it takes.

use std::io::Write;
use std::path::Path;

use futures::StreamExt;
use oci_client::client::BlobResponse;
use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::remote::{Endpoint, pauses};

/// Fetches a blob whose digest and size are known. A file that holds a part of it already is continued.
pub(super) async fn fetch(
    endpoints: &[Endpoint],
    (digest, size): (&str, u64),
    file: &Path,
    retries: usize,
    progress: impl Fn(u64),
) -> Result<(), Failure> {
    let mut last = Failure::NotFound;
    for (number, endpoint) in endpoints.iter().enumerate() {
        // Who has another place to ask need not wait long.
        let retries = if number + 1 < endpoints.len() { 1 } else { retries };
        endpoint.introduce().await;
        match patiently(endpoint, (digest, size), file, retries, &progress).await {
            Ok(()) => return Ok(()),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

async fn patiently(
    endpoint: &Endpoint,
    (digest, size): (&str, u64),
    file: &Path,
    retries: usize,
    progress: &impl Fn(u64),
) -> Result<(), Failure> {
    let mut waits = pauses(retries);
    let mut afresh = false;
    loop {
        let had = length(file);
        let fetched = if had == size && had > 0 {
            Ok(())
        } else {
            continued(endpoint, (digest, size), file, progress).await
        };
        match fetched {
            Ok(()) => match verify(file, digest).await {
                Ok(()) => return Ok(()),
                // What was there before may have been what was wrong.
                Err(Failure::Unusable(_)) if had > 0 && !afresh => afresh = true,
                Err(failure) => return Err(failure),
            },
            Err(failure) if failure.is_for_now() => {
                if length(file) > had {
                    waits = pauses(retries);
                }
                match waits.next() {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(failure),
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

fn local(error: std::io::Error) -> Failure {
    Failure::Unusable(format!("cannot store it: {error}"))
}

/// Asks for what is missing and appends it.
async fn continued(
    endpoint: &Endpoint,
    (digest, size): (&str, u64),
    path: &Path,
    progress: &impl Fn(u64),
) -> Result<(), Failure> {
    let reference = &endpoint.place.reference;
    let mut file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(local)?;
    let mut done = file.metadata().map_err(local)?.len();
    if done > size {
        file.set_len(0).map_err(local)?;
        done = 0;
    }
    let mut stream = if done == 0 {
        endpoint.client.pull_blob_stream(reference, digest).await?
    } else {
        match endpoint
            .client
            .pull_blob_stream_partial(reference, digest, done, None)
            .await?
        {
            BlobResponse::Partial(stream) => stream,
            BlobResponse::Full(stream) => {
                file.set_len(0).map_err(local)?;
                done = 0;
                stream
            }
        }
    };
    progress(done);
    while let Some(piece) = stream.stream.next().await {
        // A digest that is wrong is told here too; the whole file is looked at afterwards.
        let piece = match piece {
            Err(_) if done == size => break,
            Err(error) => {
                return Err(Failure::from(oci_client::errors::OciDistributionError::IoError(
                    error,
                )));
            }
            Ok(piece) => piece,
        };
        done += piece.len() as u64;
        if done > size {
            let _ = file.set_len(0);
            return Err(Failure::Unusable(format!(
                "{digest} is longer than the {size} bytes that its manifest tells of"
            )));
        }
        file.write_all(&piece).map_err(local)?;
        progress(done);
    }
    if done < size {
        return Err(Failure::ForNow(format!(
            "the connection ended after {done} of {size} bytes"
        )));
    }
    Ok(())
}

/// A file that is not what its digest says is removed.
async fn verify(path: &Path, digest: &str) -> Result<(), Failure> {
    let owned = path.to_owned();
    let digested = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut hasher = Sha256::new();
        std::io::copy(&mut std::fs::File::open(&owned)?, &mut Hashing(&mut hasher))?;
        let bytes = hasher.finalize();
        Ok(bytes
            .iter()
            .fold(String::from("sha256:"), |text, byte| format!("{text}{byte:02x}")))
    });
    let found = digested
        .await
        .map_err(|error| Failure::Unusable(format!("a task failed: {error}")))?
        .map_err(local)?;
    if found == digest {
        return Ok(());
    }
    let _ = std::fs::remove_file(path);
    Err(Failure::Unusable(format!(
        "what came for {digest} is corrupted: its digest is {found}"
    )))
}

struct Hashing<'a>(&'a mut Sha256);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
