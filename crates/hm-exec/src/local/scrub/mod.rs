//! Masks the values of a run's secrets in everything that the run tells.
//!
//! One [`Scrubber`] stands where events are made: a [`Mask`] takes the bytes of each output stream before they
//! are cut into lines, and [`Scrubber::event`] takes the texts of all other events. What is searched for is not
//! the value alone but every form in which a program is likely to print it (`forms`). What is found is replaced by
//! `***`; values that overlap become one mask, so that none leaves an end behind.
//!
//! A run without secrets has no patterns, and nothing is searched.

mod event;
mod forms;
mod mask;
mod patterns;
mod quoting;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hm_vm::SecretValue;

pub(super) use mask::Mask;
use patterns::Patterns;

/// The fewest bytes that are masked, of a value and of a line of one: three characters or fewer turn up everywhere
/// in a log, which would not be readable any more, and whose masks would tell what they hide.
pub(super) const SHORTEST: usize = 4;

/// The most bytes that a value may have: every form of it is kept in memory.
pub(super) const LONGEST: usize = 32 * 1024;

/// What stands in a value's place.
const MASKED: &str = "***";

/// Knows the secrets of one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Scrubber {
    patterns: Option<Arc<Patterns>>,
}

impl Scrubber {
    /// Masks these values.
    ///
    /// # Errors
    /// In words that name the secret and never show its value: why one of them cannot be masked.
    pub(super) fn new(secrets: &BTreeMap<String, SecretValue>) -> Result<Self, String> {
        let mut patterns = BTreeSet::new();
        for (name, value) in secrets {
            let bytes = value.expose();
            if bytes.trim_ascii().len() < SHORTEST {
                return Err(format!(
                    "the secret `{name}` is too short to be masked: it has to have at least {SHORTEST} bytes that are no blanks"
                ));
            }
            if bytes.len() > LONGEST {
                return Err(format!(
                    "the secret `{name}` has {} bytes, more than the {LONGEST} that hm masks: encrypt the file, commit it, and \
                     let the secret be its key",
                    bytes.len()
                ));
            }
            forms::add(bytes, &mut patterns);
        }
        let patterns = if patterns.is_empty() {
            None
        } else {
            let patterns = Patterns::new(&patterns).map_err(|error| {
                format!("the secrets cannot be masked: {error}; give the run fewer, or shorter ones")
            })?;
            Some(Arc::new(patterns))
        };
        Ok(Self { patterns })
    }

    /// What masks one output stream.
    pub(super) fn mask(&self) -> Mask {
        Mask::new(self.patterns.clone())
    }

    /// A text of any kind, masked.
    pub(super) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let masked = self
            .patterns
            .as_ref()
            .and_then(|patterns| patterns.replace(text.as_bytes()));
        match masked {
            None => Cow::Borrowed(text),
            // A value that is no UTF-8 may have matched within a character.
            Some(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
