//! `artifacts`.

use globset::GlobBuilder;

use super::{Field, has_parent};
use crate::parse::json;
use crate::parse::wire::WireArtifacts;
use crate::{Artifacts, CollectWhen, PlanError, StepKey};

/// The most patterns that all of a step's `artifacts` may have together.
pub const MAX_PATTERNS: usize = 256;

/// What a longer pattern compiles to may be more than can be matched.
const MAX_PATTERN_BYTES: usize = 1024;

pub fn artifacts(step: &StepKey, wire: Vec<WireArtifacts>) -> Result<Vec<Artifacts>, PlanError> {
    let field = Field {
        step,
        name: "artifacts",
    };
    field.check_count(wire.len())?;
    let patterns: usize = wire.iter().map(|wire| wire.paths.len()).sum();
    if patterns > MAX_PATTERNS {
        return Err(field.bad(format!(
            "it has {patterns} paths, more than the {MAX_PATTERNS} that hm takes: use patterns such as `report/**`"
        )));
    }
    wire.into_iter().map(|wire| one(field, wire)).collect()
}

fn one(field: Field<'_>, wire: WireArtifacts) -> Result<Artifacts, PlanError> {
    if wire.paths.is_empty() {
        return Err(field.bad("`paths` is empty: say which files to keep, or leave the entry out"));
    }
    for path in &wire.paths {
        if let Some(reason) = wrong_pattern(path) {
            return Err(field.bad(format!("the path {:?} {reason}", json::cut(path))));
        }
    }
    let when = match wire.when.as_deref() {
        None => CollectWhen::default(),
        Some("always") => CollectWhen::Always,
        Some("passed") => CollectWhen::Passed,
        Some("failed") => CollectWhen::Failed,
        Some(other) => {
            return Err(field.bad(format!(
                "`when` is {:?}, which is none of \"always\", \"passed\", \"failed\"",
                json::cut(other)
            )));
        }
    };
    if wire.max_bytes == Some(0) {
        return Err(
            field.bad("`max_bytes` is 0: leave it out for the run's own limit, or give it more than 0")
        );
    }
    Ok(Artifacts {
        paths: wire.paths,
        when,
        max_bytes: wire.max_bytes,
    })
}

fn wrong_pattern(path: &str) -> Option<String> {
    let reason = if path.is_empty() {
        "is empty"
    } else if path.len() > MAX_PATTERN_BYTES {
        "is longer than 1024 bytes"
    } else if path.starts_with('/') {
        "is absolute: artifacts are files in /workspace, and their paths are relative to it"
    } else if has_parent(path) {
        "leads out of /workspace by `..`"
    } else if path.contains('\0') {
        "contains a NUL character"
    } else {
        let glob = GlobBuilder::new(path)
            .literal_separator(true)
            .backslash_escape(true)
            .build();
        return glob.err().map(|error| format!("is no pattern: {}", error.kind()));
    };
    Some(reason.to_owned())
}
