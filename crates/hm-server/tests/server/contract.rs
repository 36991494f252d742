//! The served document against the published one: what we serve of it, we serve to the letter.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::harness::started;

const PUBLISHED: &str = include_str!("../api/harmont-openapi.json");

/// What we leave out, and why.
const OUT: &[(&str, &str)] = &[
    // Money.
    ("/api/v0/billing/", "this server sells nothing"),
    ("/api/v0/stripe/", "this server sells nothing"),
    // Other ways to log in.
    ("/api/v0/auth/github", "no OAuth"),
    ("/api/v0/auth/google", "no OAuth"),
    ("/api/v0/auth/passkey/", "no passkeys"),
    ("/api/v0/auth/recover/", "no passkeys to recover"),
    ("/api/v0/user/passkeys", "no passkeys"),
    // Hosted repositories.
    ("/api/v0/integrations/", "no hosted repositories"),
    ("/api/v0/organizations/{org}/bitbucket/", "no hosted repositories"),
    ("/api/v0/organizations/{org}/github/", "no hosted repositories"),
    ("/api/v0/organizations/{org}/repos", "no hosted repositories"),
];

/// Answers of the published API that ours never gives.
const NEVER: [(&str, &str); 1] = [("402", "this server sells nothing")];

/// Ours alone.
fn is_ours(path: &str) -> bool {
    path.starts_with("/hm/v1/")
        || path.starts_with("/agent/v1/")
        || path == "/api/v0/openapi.json"
        || path.starts_with("/v0/jobs/")
}

fn operations(document: &Value) -> BTreeMap<(String, String), &Value> {
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.insert((path.clone(), method.clone()), operation);
        }
    }
    operations
}

/// A schema as both dialects of OpenAPI mean it: references followed, and words that only explain left out.
fn plain(document: &Value, schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.trim_start_matches('#');
        return plain(
            document,
            document.pointer(pointer).unwrap_or_else(|| panic!("{name}")),
        );
    }
    for union in ["oneOf", "anyOf"] {
        if let Some(cases) = schema[union].as_array() {
            let (null, other): (Vec<_>, Vec<_>) = cases.iter().partition(|case| case["type"] == "null");
            assert_eq!((null.len(), other.len()), (1, 1), "{schema}");
            let mut other = plain(document, other[0]);
            other["nullable"] = json!(true);
            return other;
        }
    }
    let mut plain_schema = Map::new();
    let mut nullable = schema["nullable"] == json!(true);
    let kind = match &schema["type"] {
        Value::Array(kinds) => {
            nullable |= kinds.contains(&json!("null"));
            kinds.iter().find(|kind| **kind != "null").unwrap().clone()
        }
        kind => kind.clone(),
    };
    if nullable {
        plain_schema.insert("nullable".into(), json!(true));
    }
    // The published document says nothing of how wide an integer is.
    if let Some(format) = schema["format"].as_str().filter(|_| kind == "string") {
        plain_schema.insert("format".into(), json!(format));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: BTreeSet<_> = values.iter().map(|value| value.as_str().unwrap()).collect();
        plain_schema.insert("enum".into(), json!(values));
    }
    if let Some(properties) = schema["properties"].as_object() {
        let properties = properties
            .iter()
            .map(|(name, schema)| (name.clone(), plain(document, schema)));
        plain_schema.insert("properties".into(), Value::Object(properties.collect()));
        let required: BTreeSet<_> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| name.as_str().unwrap())
            .collect();
        plain_schema.insert("required".into(), json!(required));
    }
    if let Some(items) = schema.get("items") {
        plain_schema.insert("items".into(), plain(document, items));
    }
    if let Some(values) = schema
        .get("additionalProperties")
        .filter(|values| values.is_object())
    {
        plain_schema.insert("additionalProperties".into(), plain(document, values));
    }
    plain_schema.insert("type".into(), kind);
    Value::Object(plain_schema)
}

fn parameters(document: &Value, operation: &Value) -> BTreeSet<String> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let line = |parameter: &Value| {
        format!(
            "{} {} required={} {}",
            parameter["in"],
            parameter["name"],
            parameter["required"] == json!(true),
            plain(document, &parameter["schema"])
        )
    };
    parameters.map(line).collect()
}

/// The only media type of a body, and its schema.
fn content(document: &Value, body: &Value) -> Option<(String, Value)> {
    let content = body["content"].as_object()?;
    assert_eq!(content.len(), 1, "{body}");
    let (kind, media) = content.iter().next()?;
    let mut schema = plain(document, &media["schema"]);
    if kind == "application/gzip" {
        // OpenAPI 3.1 describes bytes by their media type alone.
        schema = json!("bytes");
    }
    Some((kind.clone(), schema))
}

#[tokio::test]
async fn what_is_published_is_served_or_left_out_for_a_reason() {
    let (_data, server) = started().await;
    let served = server.anonymous().get("/api/v0/openapi.json").await.expect(200);
    let published: Value = serde_json::from_str(PUBLISHED).unwrap();
    let (ours, theirs) = (operations(&served), operations(&published));
    let is_out = |path: &str| OUT.iter().any(|(prefix, _)| path.starts_with(prefix));
    let mut compared = 0;
    for ((path, method), their) in &theirs {
        let Some(our) = ours.get(&(path.clone(), method.clone())) else {
            assert!(is_out(path), "{method} {path} is missing");
            continue;
        };
        assert!(!is_out(path), "{method} {path} is served and said to be left out");
        compared += 1;
        let place = format!("{method} {path}");
        assert_eq!(our["operationId"], their["operationId"], "{place}");
        assert_eq!(our["tags"], their["tags"], "{place}");
        assert_eq!(parameters(&served, our), parameters(&published, their), "{place}");
        let bodies = [(&served, our), (&published, their)]
            .map(|(document, operation)| content(document, &operation["requestBody"]));
        assert_eq!(bodies[0], bodies[1], "{place}");
        let schemes = [our, their].map(|operation| {
            let first = operation["security"][0]
                .as_object()
                .and_then(|scheme| scheme.keys().next());
            first.cloned()
        });
        assert_eq!(schemes[0], schemes[1], "{place}");
        for (status, response) in their["responses"].as_object().unwrap() {
            if NEVER.iter().any(|(never, _)| never == status) {
                continue;
            }
            let mine = &our["responses"][status];
            assert!(mine.is_object(), "{place} does not answer {status}");
            assert_eq!(
                content(&served, mine),
                content(&published, response),
                "{place} {status}"
            );
        }
        for (status, response) in our["responses"].as_object().unwrap() {
            // An error more is one that a client had to expect from HTTP; another success would be another API.
            let known = their["responses"][status].is_object();
            assert!(known || status.starts_with('4'), "{place} answers {status}");
            if status.starts_with('4') {
                let (_, schema) = content(&served, response).unwrap();
                assert_eq!(
                    schema,
                    plain(&published, &json!({"$ref": "#/components/schemas/Error"})),
                    "{place} {status}"
                );
            }
        }
    }
    assert_eq!(compared, 34);
    for (path, method) in ours.keys() {
        assert!(
            is_ours(path) || theirs.contains_key(&(path.clone(), method.clone())),
            "{method} {path} is nobody's"
        );
    }
    for (prefix, _) in OUT {
        assert!(
            theirs.keys().any(|(path, _)| path.starts_with(prefix)),
            "{prefix} leaves nothing out"
        );
    }
    server.stop().await;
}
