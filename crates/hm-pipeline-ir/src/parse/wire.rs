//! The v0 IR as it is written. Unknown fields are ignored.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::MAX_STEPS;

#[derive(Deserialize)]
#[serde(expecting = "a plan (a JSON object)")]
pub struct WirePlan {
    pub version: Option<serde_json::Value>,
    pub default_image: Option<String>,
    pub timeout_seconds: Option<u32>,
    pub graph: WireGraph,
}

/// petgraph's serde form: the nodes that are there, the numbers of those that are not, and edges between
/// the numbers; an edge that was removed is `null`.
#[derive(Deserialize)]
#[serde(expecting = "a graph (a JSON object)")]
pub struct WireGraph {
    pub nodes: WireNodes,
    pub node_holes: Option<Vec<u64>>,
    pub edge_property: Option<serde_json::Value>,
    pub edges: Vec<Option<WireEdge>>,
}

/// No more nodes are kept than a plan may have steps: a short text can hold millions of empty ones, and
/// each takes far more memory than text.
pub struct WireNodes {
    pub kept: Vec<WireNode>,
    pub count: usize,
}

impl<'de> Deserialize<'de> for WireNodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = WireNodes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of nodes")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut nodes: A) -> Result<WireNodes, A::Error> {
                let mut kept = Vec::new();
                while kept.len() < MAX_STEPS {
                    match nodes.next_element()? {
                        Some(node) => kept.push(node),
                        None => {
                            return Ok(WireNodes {
                                count: kept.len(),
                                kept,
                            });
                        }
                    }
                }
                let mut count = kept.len();
                while nodes.next_element::<de::IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(WireNodes { kept, count })
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

#[derive(Deserialize)]
#[serde(expecting = "a node (a JSON object with `step` and `env`)")]
pub struct WireNode {
    pub step: WireStep,
    pub env: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a step (a JSON object)")]
pub struct WireStep {
    pub key: String,
    pub cmd: String,
    pub shell: Option<String>,
    pub label: Option<String>,
    pub image: Option<String>,
    pub env: Option<BTreeMap<String, String>>,
    pub timeout_seconds: Option<u32>,
    pub grace_seconds: Option<u32>,
    pub cache: Option<WirePolicy>,
    pub runner: Option<String>,
    pub runner_args: Option<serde_json::Value>,
    pub retries: Option<u32>,
    pub soft_fail: Option<bool>,
    pub git: Option<bool>,
    pub network: Option<String>,
    pub limits: Option<WireLimits>,
    pub services: Option<Vec<WireService>>,
    pub secrets: Option<Vec<WireSecret>>,
    pub artifacts: Option<Vec<WireArtifacts>>,
    pub caches: Option<Vec<WireCache>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a cache policy (a JSON object)")]
pub struct WirePolicy {
    pub policy: String,
    pub duration_seconds: Option<u64>,
    pub env_keys: Option<Vec<String>>,
    pub paths: Option<Vec<String>>,
    pub sub_policies: Option<Vec<WirePolicy>>,
    pub key: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "limits (a JSON object)")]
pub struct WireLimits {
    pub memory: Option<u64>,
    pub cpus: Option<f64>,
    pub pids: Option<u64>,
    pub disk: Option<u64>,
}

#[derive(Deserialize)]
#[serde(expecting = "a service (a JSON object)")]
pub struct WireService {
    pub name: String,
    pub image: Option<String>,
    pub cmd: Option<String>,
    pub shell: Option<String>,
    pub env: Option<BTreeMap<String, String>>,
    pub scope: Option<String>,
    pub health: Option<WireHealth>,
}

#[derive(Deserialize)]
#[serde(expecting = "a health check (a JSON object)")]
pub struct WireHealth {
    pub cmd: String,
    pub interval_seconds: Option<f64>,
    pub timeout_seconds: Option<f64>,
}

#[derive(Deserialize)]
#[serde(expecting = "a secret (a JSON object with `name`)")]
pub struct WireSecret {
    pub name: String,
    pub env: Option<String>,
    pub file: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "artifacts (a JSON object with `paths`)")]
pub struct WireArtifacts {
    pub paths: Vec<String>,
    pub when: Option<String>,
    pub max_bytes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(expecting = "a cache directory (a JSON object with `name` and `path`)")]
pub struct WireCache {
    pub name: String,
    pub path: String,
    pub keep: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "an edge: [from, to, \"builds_in\" or \"depends_on\"]")]
pub struct WireEdge(pub u64, pub u64, pub WireEdgeKind);

/// Read without an allocation per edge: plans with barriers have a million of them.
pub enum WireEdgeKind {
    BuildsIn,
    DependsOn,
    Unknown(String),
}

impl<'de> Deserialize<'de> for WireEdgeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = WireEdgeKind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"builds_in\" or \"depends_on\"")
            }

            fn visit_str<E: de::Error>(self, kind: &str) -> Result<WireEdgeKind, E> {
                Ok(match kind {
                    "builds_in" => WireEdgeKind::BuildsIn,
                    "depends_on" => WireEdgeKind::DependsOn,
                    other => WireEdgeKind::Unknown(other.to_owned()),
                })
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
