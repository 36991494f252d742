//! What a registry of pipelines renders to.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::PlanError;
use crate::parse::json;

/// A registry's pipelines, in the order in which they were registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The pipelines.
    pub pipelines: Vec<PipelineEntry>,
}

/// One registered pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineEntry {
    /// What it is called on a command line; unique.
    pub slug: String,
    /// What it is called before a person; the slug where the author gave no name.
    pub name: String,
    /// Whether a person may start it.
    pub allow_manual: bool,
    /// What starts it, as it stands in the envelope.
    pub triggers: Vec<serde_json::Value>,
    /// The plan's text, byte for byte, for [`crate::PipelineGraph::parse`]. Not validated here: one broken
    /// pipeline must not keep the others from running.
    pub definition: String,
}

#[derive(Deserialize)]
struct WireEnvelope {
    schema_version: Option<serde_json::Value>,
    pipelines: Vec<WireEntry>,
}

#[derive(Deserialize)]
struct WireEntry {
    slug: String,
    name: Option<String>,
    allow_manual: Option<bool>,
    triggers: Option<Vec<serde_json::Value>>,
    definition: Box<RawValue>,
}

impl Envelope {
    /// Parses `{"schema_version": "1", "pipelines": [{"slug", "name", "allow_manual", "triggers", "definition"}]}`.
    ///
    /// # Errors
    /// It is too long, is not such JSON, has another schema version, or a slug is empty, has control
    /// characters, or comes twice.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let wire: WireEnvelope = json::read(text, json::Document::Envelope)?;
        json::check_schema_version(wire.schema_version.as_ref())?;
        let mut seen = HashSet::new();
        for entry in &wire.pipelines {
            let reason = if entry.slug.trim().is_empty() {
                "has an empty slug: give it a name to call it by"
            } else if entry.slug.chars().any(char::is_control) {
                "has a control character in its slug: give it another one"
            } else if !seen.insert(entry.slug.as_str()) {
                "is registered twice: give one of the two another slug"
            } else {
                continue;
            };
            return Err(PlanError::BadSlug {
                slug: entry.slug.clone(),
                reason,
            });
        }
        let pipelines = wire.pipelines.into_iter().map(PipelineEntry::from).collect();
        Ok(Self { pipelines })
    }

    /// The pipeline of that slug.
    #[must_use]
    pub fn get(&self, slug: &str) -> Option<&PipelineEntry> {
        self.pipelines.iter().find(|entry| entry.slug == slug)
    }
}

impl From<WireEntry> for PipelineEntry {
    fn from(wire: WireEntry) -> Self {
        Self {
            name: wire.name.unwrap_or_else(|| wire.slug.clone()),
            slug: wire.slug,
            allow_manual: wire.allow_manual.unwrap_or(true),
            triggers: wire.triggers.unwrap_or_default(),
            definition: Box::<str>::from(wire.definition).into_string(),
        }
    }
}
