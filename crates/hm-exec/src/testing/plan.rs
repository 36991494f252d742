//! Writes plans, as v0 IR JSON, for tests.

use serde_json::{Map, Value, json};

use crate::Plan;

/// A plan in the making.
#[derive(Debug, Clone, Default)]
pub struct PlanWriter {
    steps: Vec<StepWriter>,
    rest: Map<String, Value>,
}

/// A step in the making.
#[derive(Debug, Clone)]
pub struct StepWriter {
    fields: Map<String, Value>,
    builds_in: Option<String>,
    after: Vec<String>,
}

impl StepWriter {
    /// A step with this key and command.
    #[must_use]
    pub fn new(key: impl Into<String>, cmd: impl Into<String>) -> Self {
        let (key, cmd): (String, String) = (key.into(), cmd.into());
        let mut fields = Map::new();
        fields.insert("key".into(), key.into());
        fields.insert("cmd".into(), cmd.into());
        Self {
            fields,
            builds_in: None,
            after: Vec::new(),
        }
    }

    /// It starts from this step's snapshot.
    #[must_use]
    pub fn builds_in(mut self, parent: impl Into<String>) -> Self {
        self.builds_in = Some(parent.into());
        self
    }

    /// It waits for this step.
    #[must_use]
    pub fn after(mut self, other: impl Into<String>) -> Self {
        self.after.push(other.into());
        self
    }

    /// It has this cache policy: `auto` or `forever`.
    #[must_use]
    pub fn cached(self, policy: &str) -> Self {
        let policy = match policy {
            "forever" => json!({"policy": "forever", "key": "k"}),
            other => json!({"policy": other}),
        };
        self.with("cache", policy)
    }

    /// Any field of the plan's format.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.into(), value.into());
        self
    }
}

impl PlanWriter {
    /// A plan of these steps.
    pub fn of(steps: impl IntoIterator<Item = StepWriter>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            rest: Map::new(),
        }
    }

    /// Any field of the plan's outermost object.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.rest.insert(field.into(), value.into());
        self
    }

    /// The plan as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let places: std::collections::HashMap<&str, usize> = self
            .steps
            .iter()
            .enumerate()
            .filter_map(|(place, step)| Some((step.fields.get("key")?.as_str()?, place)))
            .collect();
        let mut edges = Vec::new();
        for (place, step) in self.steps.iter().enumerate() {
            let mut edge = |from: &String, kind: &str| {
                let from = places.get(from.as_str()).copied().unwrap_or(usize::MAX);
                edges.push(json!([from, place, kind]));
            };
            step.builds_in.iter().for_each(|from| edge(from, "builds_in"));
            step.after.iter().for_each(|from| edge(from, "depends_on"));
        }
        let nodes: Vec<Value> = self
            .steps
            .iter()
            .map(|step| json!({"step": step.fields, "env": step.fields.get("env").cloned().unwrap_or(json!({}))}))
            .collect();
        let mut plan = self.rest.clone();
        plan.insert("version".into(), "0".into());
        plan.insert(
            "graph".into(),
            json!({"nodes": nodes, "node_holes": [], "edge_property": "directed", "edges": edges}),
        );
        Value::Object(plan).to_string()
    }

    /// The plan, parsed.
    ///
    /// # Panics
    /// When it is no valid plan.
    #[must_use]
    pub fn plan(&self) -> Plan {
        match Plan::parse(self.json()) {
            Ok(plan) => plan,
            Err(error) => {
                std::panic::panic_any(format!("the test's plan is wrong: {error}\n{}", self.json()))
            }
        }
    }
}
