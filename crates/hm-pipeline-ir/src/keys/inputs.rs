//! From a step to the components of its key.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::{CacheKey, Component, FORMAT_VERSION, KeyParts, canonical, needs, start};
use crate::{CachePolicy, Service, Step};

/// What a step starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base<'a> {
    /// The snapshot of its `builds_in` parent: that one's [`KeyParts::key`].
    Parent(CacheKey),
    /// An image: it has no parent.
    Image {
        /// The reference, as the plan or the backend's default names it.
        reference: &'a str,
        /// What the reference stands for at this moment: a digest, or what else identifies the contents.
        digest: &'a str,
    },
}

/// All that a step's identity depends on.
#[derive(Debug, Clone, Copy)]
pub struct KeyInputs<'a> {
    /// The step.
    pub step: &'a Step,
    /// What it starts from.
    pub base: Base<'a>,
    /// Variables of the run, over the plan's own.
    pub run_env: &'a BTreeMap<String, String>,
    /// The digest of the source tree, in any form; heeded only where the policy asks for it.
    pub source: &'a str,
    /// The digest of the files that the policy watches, as the source has them.
    pub watched: Option<[u8; 32]>,
    /// The services that it reaches: [`crate::PipelineGraph::services`].
    pub services: &'a [&'a Service],
    /// What the [`Service::image`] of each of these stands for at this moment, as in [`Base::Image`]; under `None` the
    /// backend's default.
    pub service_images: &'a BTreeMap<Option<String>, String>,
}

impl KeyInputs<'_> {
    /// The components of the step's identity; [`KeyParts::key`] folds them.
    #[must_use]
    pub fn cache_key(&self) -> KeyParts {
        let Self { step, base, .. } = self;
        let mut parts = BTreeMap::new();
        parts.insert(
            Component::Format,
            start(Component::Format).count(FORMAT_VERSION as usize).digest(),
        );
        match base {
            Base::Parent(identity) => {
                parts.insert(
                    Component::Parent,
                    start(Component::Parent).bytes(identity.as_bytes()).digest(),
                );
            }
            Base::Image { reference, digest } => {
                parts.insert(Component::Image, image_component(reference, digest));
            }
        }
        parts.insert(
            Component::Command,
            start(Component::Command).text(&step.cmd).digest(),
        );
        parts.insert(Component::Environment, environment(&step.env, self.run_env));
        if step.runner.is_some() || step.runner_args.is_some() {
            let named = start(Component::Runner)
                .optional(step.runner.as_deref())
                .flag(step.runner_args.is_some());
            let fields = step.runner_args.iter().fold(named, canonical::value);
            parts.insert(Component::Runner, fields.digest());
        }
        parts.insert(
            Component::Policy,
            policy(start(Component::Policy), &step.cache).digest(),
        );
        if let Some(key) = step.cache.key() {
            parts.insert(Component::PlanKey, start(Component::PlanKey).text(key).digest());
        }
        if let Some(watched) = &self.watched {
            parts.insert(
                Component::Watched,
                start(Component::Watched).bytes(watched).digest(),
            );
        }
        if step.cache.uses_source() || step.git {
            let tree = step.cache.uses_source().then_some(self.source);
            let fields = start(Component::Source).optional(tree).flag(step.git);
            parts.insert(Component::Source, fields.digest());
        }
        needs::components(self, &mut parts);
        KeyParts::new(parts)
    }
}

/// The component of an image.
pub(super) fn image_component(reference: &str, digest: &str) -> CacheKey {
    start(Component::Image).text(reference).text(digest).digest()
}

fn environment(plan: &BTreeMap<String, String>, run: &BTreeMap<String, String>) -> CacheKey {
    let mut merged: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in plan.iter().chain(run) {
        merged.insert(name, value);
    }
    let start = start(Component::Environment).count(merged.len());
    merged
        .into_iter()
        .fold(start, |fields, (name, value)| fields.text(name).text(value))
        .digest()
}

/// The names of the policy and its parts; what they hold is in the plan's key. Recursive, but no deeper than
/// a plan may nest.
fn policy(fields: Fields, policy_: &CachePolicy) -> Fields {
    let fields = fields.text(policy_.name());
    match policy_ {
        CachePolicy::Compose { policies, .. } => policies.iter().fold(fields.count(policies.len()), policy),
        _ => fields,
    }
}
