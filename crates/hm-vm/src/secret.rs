//! Values that must not be stored, printed or logged.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretSlice};

/// A secret's value. Its `Debug` form says nothing of it, and its memory is wiped when it goes.
#[derive(Clone)]
pub struct SecretValue(SecretSlice<u8>);

impl SecretValue {
    /// Takes the bytes over.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(SecretSlice::from(bytes.into()))
    }

    /// The bytes, for whoever hands them to a command or masks them in its output.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// What a command is given that must be in no snapshot, no image and no argument list.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Variables of the command's environment, over all others.
    pub env: BTreeMap<String, SecretValue>,
    /// Files on a tmpfs, by their name in [`SECRETS_DIR`], readable by the command's user alone.
    pub files: BTreeMap<String, SecretValue>,
}

/// Where a command finds its secret files.
pub const SECRETS_DIR: &str = "/run/secrets";
