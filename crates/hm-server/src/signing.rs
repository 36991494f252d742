//! The key that signs log tokens.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::{self, NoRandomness};

const KEY_BYTES: usize = 32;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// Its file cannot be read or made.
    #[error("the signing key {} cannot be read or made: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its file holds something else.
    #[error("the signing key {} is damaged: remove it, and a new one is made; log tokens given out end with it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A new one cannot be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Signs, and checks signatures.
pub(crate) struct Signer {
    key: Hmac<Sha256>,
}

impl Signer {
    /// The key in this file, which is made where there is none, for its owner's eyes alone.
    pub(crate) fn open(path: &Path) -> Result<Self, SigningError> {
        let failed = |source| SigningError::Io {
            path: path.to_owned(),
            source,
        };
        let damaged = || SigningError::Damaged {
            path: path.to_owned(),
        };
        let mut bytes = Vec::new();
        match fs::File::open(path) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bytes = secret::random::<KEY_BYTES>()?.to_vec();
                create(path, &bytes).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        if bytes.len() != KEY_BYTES {
            return Err(damaged());
        }
        let key = Hmac::new_from_slice(&bytes).map_err(|_| damaged())?;
        Ok(Self { key })
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut mac = self.key.clone();
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }

    /// Compares in constant time.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let mut mac = self.key.clone();
        mac.update(message);
        mac.verify_slice(signature).is_ok()
    }
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}
