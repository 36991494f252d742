//! What a step needs beside its command: a file for each field, and here what they have in common.

mod artifacts;
mod caches;
mod secrets;
mod services;

pub use artifacts::{MAX_PATTERNS, artifacts};
pub use caches::caches;
pub use secrets::secrets;
pub use services::services;

use crate::{PlanError, StepKey};

/// The most entries that a step's `services`, `secrets`, `artifacts` and `caches` may each have.
pub const MAX_NEEDS: usize = 32;

/// A path in Linux is no longer.
const MAX_PATH_BYTES: usize = 4095;

/// A field of a step, for its errors.
#[derive(Debug, Clone, Copy)]
struct Field<'a> {
    step: &'a StepKey,
    name: &'static str,
}

impl Field<'_> {
    fn bad(self, reason: impl Into<String>) -> PlanError {
        PlanError::BadField {
            step: self.step.clone(),
            field: self.name,
            reason: reason.into(),
        }
    }

    fn check_count(self, count: usize) -> Result<(), PlanError> {
        if count <= MAX_NEEDS {
            return Ok(());
        }
        Err(self.bad(format!(
            "it has {count} entries, more than the {MAX_NEEDS} that hm takes: split the step"
        )))
    }
}

/// Whether a shell can name it as a variable.
fn is_variable_name(name: &str) -> bool {
    name.len() <= 256 && super::checks::is_variable_name(name)
}

/// Whether a path leads upwards somewhere.
fn has_parent(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}
