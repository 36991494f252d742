//! JSON in one form.

use serde_json::Value;

use super::fields::Fields;

/// Folds a value so that the order of an object's keys does not matter, whichever way `serde_json` was built
/// to keep them. Recursive, but no deeper than a plan may nest.
pub fn value(fields: Fields, json: &Value) -> Fields {
    match json {
        Value::Array(items) => items.iter().fold(fields.text("array").count(items.len()), value),
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let start = fields.text("object").count(members.len());
            members
                .into_iter()
                .fold(start, |fields, (name, member)| value(fields.text(name), member))
        }
        Value::String(text) => fields.text("string").text(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => fields.text("scalar").text(&json.to_string()),
    }
}
