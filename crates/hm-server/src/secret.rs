//! Secrets that the server hands out once and afterwards knows only by their hash.
//!
//! The hash is plain BLAKE3, fast and without a salt. A slow, salted hash protects what people choose, because
//! that can be guessed; these are 256 bits from the operating system's generator, which nobody guesses at any speed, and every
//! request looks one up. Finding a secret by its hash also leaves nothing to a timing of comparisons.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A secret in the clear, on its way to its owner. It cannot be printed by accident.
#[derive(Clone)]
pub struct Secret(String);

/// What a [`Secret`] hashes to, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretHash(String);

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct NoRandomness(String);

/// Random bytes of the operating system.
///
/// # Errors
/// When it has none.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| NoRandomness(error.to_string()))?;
    Ok(bytes)
}

impl Secret {
    /// A new one: `hm_`, what it is for, and 256 random bits.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new(purpose: &str) -> Result<Self, NoRandomness> {
        let bytes: [u8; 32] = random()?;
        Ok(Self(format!("hm_{purpose}_{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// What somebody presented.
    #[must_use]
    pub fn presented(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for its owner.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What it hashes to.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(blake3::hash(self.0.as_bytes()).to_hex().to_string())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl SecretHash {
    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_do_not_show() {
        let (one, other) = (Secret::new("api").unwrap(), Secret::new("api").unwrap());
        assert_ne!(one.reveal(), other.reveal());
        assert!(one.reveal().starts_with("hm_api_"));
        assert!(!format!("{one:?}").contains(&one.reveal()[7..]));
        assert_eq!(one.hash(), Secret::presented(one.reveal()).hash());
        assert!(!one.hash().as_str().contains(&one.reveal()[7..]));
    }
}
