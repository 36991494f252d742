//! Reading JSON, with errors that say where and in which step.

use serde::Deserialize;
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::MAX_PLAN_BYTES;
use crate::PlanError;

/// What is being read.
#[derive(Debug, Clone, Copy)]
pub enum Document {
    Plan,
    Envelope,
}

/// Reads a document that is not too long.
pub fn read<'de, T: Deserialize<'de>>(text: &'de str, document: Document) -> Result<T, PlanError> {
    if text.len() > MAX_PLAN_BYTES {
        return Err(PlanError::TooLarge {
            bytes: text.len(),
            limit: MAX_PLAN_BYTES,
        });
    }
    serde_json::from_str(text).map_err(|error| diagnose::<T>(text, &error, document))
}

pub fn check_version(version: Option<&Value>) -> Result<(), PlanError> {
    if version.and_then(Value::as_str) == Some("0") {
        return Ok(());
    }
    Err(PlanError::Version {
        found: version.map(shorten),
    })
}

pub fn check_schema_version(version: Option<&Value>) -> Result<(), PlanError> {
    if version.and_then(Value::as_str) == Some("1") {
        return Ok(());
    }
    Err(PlanError::SchemaVersion {
        found: version.map(shorten),
    })
}

/// A JSON value as text, short enough for a message.
pub fn shorten(value: &Value) -> String {
    cut(&value.to_string())
}

/// Text from a plan, short enough for a message.
pub fn cut(text: &str) -> String {
    const CHARS: usize = 60;
    if text.chars().nth(CHARS).is_none() {
        return text.to_owned();
    }
    text.chars().take(CHARS - 1).chain(std::iter::once('…')).collect()
}

/// Says more of a document that could not be read, at the price of reading it again.
fn diagnose<'de, T: Deserialize<'de>>(
    text: &'de str,
    error: &serde_json::Error,
    document: Document,
) -> PlanError {
    let (line, column) = (error.line(), error.column());
    let message = message(error);
    if error.classify() != Category::Data {
        return if message.starts_with("recursion limit exceeded") {
            PlanError::TooDeep { line, column }
        } else {
            PlanError::Syntax {
                message,
                line,
                column,
            }
        };
    }
    // A document of another version may well have another shape: the version is the better thing to say.
    if let Ok(head) = serde_json::from_str::<Head>(text) {
        let checked = match document {
            Document::Plan => check_version(head.version.as_ref()),
            Document::Envelope => check_schema_version(head.schema_version.as_ref()),
        };
        if let Err(error) = checked {
            return error;
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let traced = serde_path_to_error::deserialize::<_, T>(&mut deserializer).err();
    let path = traced
        .as_ref()
        .map_or_else(|| ".".to_owned(), |error| error.path().to_string());
    let step = traced
        .as_ref()
        .and_then(|error| node_of(error.path()))
        .and_then(|node| key_of(text, node));
    PlanError::Shape {
        message,
        path,
        step,
        line,
        column,
    }
}

#[derive(Deserialize)]
struct Head {
    version: Option<Value>,
    schema_version: Option<Value>,
}

/// What the parser says, without the place, which has fields of its own.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    cut_long(text.strip_suffix(&place).unwrap_or(&text))
}

/// The parser repeats a wrong value, which may be as long as the plan.
fn cut_long(text: &str) -> String {
    const CHARS: usize = 300;
    if text.chars().nth(CHARS).is_none() {
        return text.to_owned();
    }
    text.chars().take(CHARS).chain(std::iter::once('…')).collect()
}

/// Which node a path leads into: `graph.nodes[3].…`.
fn node_of(path: &serde_path_to_error::Path) -> Option<usize> {
    use serde_path_to_error::Segment;
    let mut segments = path.iter();
    let named =
        |segment: Option<&Segment>, name: &str| matches!(segment, Some(Segment::Map { key }) if key == name);
    if !named(segments.next(), "graph") || !named(segments.next(), "nodes") {
        return None;
    }
    match segments.next() {
        Some(Segment::Seq { index }) => Some(*index),
        _ => None,
    }
}

/// The key of the step at a node, if that much of the plan can be read.
fn key_of(text: &str, node: usize) -> Option<String> {
    #[derive(Deserialize)]
    struct Plan<'a> {
        #[serde(borrow)]
        graph: Graph<'a>,
    }
    #[derive(Deserialize)]
    struct Graph<'a> {
        #[serde(borrow)]
        nodes: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Node {
        step: Keyed,
    }
    #[derive(Deserialize)]
    struct Keyed {
        key: String,
    }
    let plan: Plan<'_> = serde_json::from_str(text).ok()?;
    let node: Node = serde_json::from_str(plan.graph.nodes.get(node)?.get()).ok()?;
    Some(cut(&node.step.key))
}
