//! References to what an executor keeps.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An opaque reference to a snapshot, meaningful only to the backend that made it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotRef(pub String);

impl std::fmt::Display for SnapshotRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
