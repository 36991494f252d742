//! Hashing fields that cannot run into one another: see [`crate::keys`].

use super::CacheKey;

/// A digest in the making.
#[derive(Debug)]
pub struct Fields(blake3::Hasher);

impl Fields {
    /// The context keeps a digest of one thing from being taken for that of another.
    pub fn new(context: &str) -> Self {
        Self(blake3::Hasher::new()).text(context)
    }

    #[must_use]
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.0.update(&(field.len() as u64).to_le_bytes());
        self.0.update(field);
        self
    }

    #[must_use]
    pub fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    #[must_use]
    pub fn count(self, count: usize) -> Self {
        self.bytes(&(count as u64).to_le_bytes())
    }

    #[must_use]
    pub fn flag(self, flag: bool) -> Self {
        self.bytes(&[u8::from(flag)])
    }

    #[must_use]
    pub fn optional(self, field: Option<&str>) -> Self {
        let present = self.flag(field.is_some());
        match field {
            Some(field) => present.text(field),
            None => present,
        }
    }

    pub fn digest(self) -> CacheKey {
        CacheKey::from_bytes(*self.0.finalize().as_bytes())
    }
}
