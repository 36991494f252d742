//! Machines that share one network.

use serde::{Deserialize, Serialize};

use crate::Network;

/// A pod: machines whose commands share one network, so that `localhost` is the same to all of them. The word is
/// Kubernetes'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodId(pub String);

/// What a pod is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodRequest {
    /// What its commands may reach beside each other.
    pub network: Network,
    /// Names that lead to the pod's own localhost: its services'.
    pub hosts: Vec<String>,
}
