//! What a layer hides of the source.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::raw_path::RawPath;
use hm_source::ExpectedState;

/// A path of the source that a layer hides, or would hide if it were there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Shadow {
    pub(super) path: RawPath,
    /// What the source had there.
    pub(super) expected: ExpectedState,
}

/// Which layers cannot be used over one source, as far as that was asked.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    pub(super) source: String,
    pub(super) of_layers: HashMap<Arc<str>, Option<String>>,
}
