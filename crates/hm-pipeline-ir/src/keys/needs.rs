//! The components of what a step needs beside its command: a field that a plan does not use adds none.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::{CacheKey, Component, KeyInputs, start};
use crate::{
    Artifacts, CacheDirectory, CollectWhen, SecretDelivery, SecretUse, Service, ServiceScope, Shell,
};

pub fn components(inputs: &KeyInputs<'_>, parts: &mut BTreeMap<Component, CacheKey>) {
    let step = inputs.step;
    let images = inputs.service_images;
    list(parts, Component::Services, inputs.services, |fields, service| {
        fold_service(fields, service, images)
    });
    list(parts, Component::Secrets, &step.secrets, secret);
    list(parts, Component::Artifacts, &step.artifacts, artifacts);
    list(parts, Component::Caches, &step.caches, cache);
    shells(inputs, parts);
}

/// A plan without a shell has the same keys as before there were any.
fn shells(inputs: &KeyInputs<'_>, parts: &mut BTreeMap<Component, CacheKey>) {
    let of_services = inputs.services.iter().map(|service| service.shell.as_ref());
    let all: Vec<Option<&Shell>> = std::iter::once(inputs.step.shell.as_ref())
        .chain(of_services)
        .collect();
    if all.iter().any(Option::is_some) {
        let fields = start(Component::Shell).count(all.len());
        let fold = |fields: Fields, shell: &Option<&Shell>| fields.optional(shell.map(Shell::as_str));
        parts.insert(Component::Shell, all.iter().fold(fields, fold).digest());
    }
}

fn list<T>(
    parts: &mut BTreeMap<Component, CacheKey>,
    component: Component,
    items: &[T],
    fold: impl FnMut(Fields, &T) -> Fields,
) {
    if !items.is_empty() {
        let fields = start(component).count(items.len());
        parts.insert(component, items.iter().fold(fields, fold).digest());
    }
}

/// How often a health check is tried and how long it may take only say whether the step may begin.
fn fold_service(fields: Fields, service: &Service, images: &BTreeMap<Option<String>, String>) -> Fields {
    let start = fields
        .text(&service.name)
        .optional(service.image.as_deref())
        .optional(images.get(&service.image).map(String::as_str))
        .optional(service.cmd.as_deref())
        .count(service.env.len());
    service
        .env
        .iter()
        .fold(start, |fields, (name, value)| fields.text(name).text(value))
        .text(match service.scope {
            ServiceScope::Step => "step",
            ServiceScope::Chain => "chain",
        })
        .optional(service.health.as_ref().map(|health| health.cmd.as_str()))
}

fn secret(fields: Fields, secret: &SecretUse) -> Fields {
    let fields = fields.text(&secret.name);
    match &secret.delivery {
        SecretDelivery::Env(variable) => fields.text("env").text(variable),
        SecretDelivery::File(file) => fields.text("file").text(file),
    }
}

fn artifacts(fields: Fields, artifacts: &Artifacts) -> Fields {
    let start = fields.count(artifacts.paths.len());
    let fields = artifacts
        .paths
        .iter()
        .fold(start, |fields, path| fields.text(path));
    fields.text(match artifacts.when {
        CollectWhen::Always => "always",
        CollectWhen::Passed => "passed",
        CollectWhen::Failed => "failed",
    })
}

fn cache(fields: Fields, cache: &CacheDirectory) -> Fields {
    fields.text(&cache.name).text(&cache.path)
}
