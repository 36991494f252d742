//! What of the configuration goes along with a build to another machine.

use std::collections::BTreeMap;

use hm_exec::RunOptions;
use hm_vm::{ImageMap, ImageReference};

use crate::config::{Config, Origin};
use crate::context::Context;

fn is_of_the_build(context: &Context, origin: &Origin) -> bool {
    match origin {
        Origin::Flag(_) => true,
        Origin::File(file) => context
            .maybe_root()
            .is_some_and(|root| *file == root.join(".hm/config.toml")),
        Origin::Default | Origin::Environment(_) => false,
    }
}

fn is_said_of_the_build(context: &Context, key: &str) -> bool {
    let said = context.layers.get(key);
    said.is_some_and(|(_, origin)| is_of_the_build(context, origin))
}

/// What one entry of a step's artifacts may have on another machine.
#[must_use]
pub fn artifact_bytes(context: &Context, config: &Config) -> u64 {
    if is_said_of_the_build(context, "artifacts.max_bytes") {
        config.artifact_bytes
    } else {
        RunOptions::default().artifact_bytes
    }
}

/// Takes out of a run's options, and of what stands in for its images, what was said about this machine: by the user's own
/// file and the environment. What the command line and the project's file say is about the build, and stays.
///
/// Keep-going, the network and `.git` say how the build is to be, whoever says it.
pub fn leave_what_is_of_here(
    context: &Context,
    options: &mut RunOptions,
    images: &mut BTreeMap<String, String>,
) {
    let stays = |key| is_said_of_the_build(context, key);
    if !stays("parallelism") {
        options.parallelism = None;
    }
    let limits = &mut options.limits;
    limits.memory = limits.memory.filter(|_| stays("limits.memory"));
    limits.cpus = limits.cpus.filter(|_| stays("limits.cpus"));
    limits.pids = limits.pids.filter(|_| stays("limits.pids"));
    limits.disk = limits.disk.filter(|_| stays("limits.disk"));
    options.images = ImageMap::default();
    images.clear();
    for (name, target, origin) in context.layers.images() {
        if is_of_the_build(context, origin) {
            images.insert(name.to_owned(), target.to_owned());
            options
                .images
                .insert(ImageReference::new(name), ImageReference::new(target));
        }
    }
}
