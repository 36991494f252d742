//! What a step is put into.

use std::path::Path;

use super::cgroup::StepCgroup;
use super::network::Slot;
use crate::linux::protocol::Identity;

/// Where a step goes.
pub(super) struct Place<'a> {
    pub root: &'a Path,
    pub stage: &'a Path,
    pub dev: &'a Path,
    pub identity: Identity,
}

/// What a step is put into.
pub(super) struct Entry<'a> {
    pub place: Place<'a>,
    pub slot: &'a Slot,
    pub cgroup: Option<&'a StepCgroup>,
    /// The names of its pod.
    pub hosts: Option<&'a [String]>,
}
