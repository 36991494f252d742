//! What backends are told of this machine and of the configuration.

use std::sync::Arc;

use hm_docker::DockerConfig;
use hm_oci::ImageSettings;
use hm_sandbox::{PASSED_VARIABLES, SandboxConfig};
use hm_source::SourceStore;

use super::engine::find_engine;
use crate::config::{Config, Origin};
use crate::context::Context;
use crate::credentials::Logins;
use crate::env_vars;
use crate::pulls::Pulls;
use crate::repository;

/// Where programs are when nobody says.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How images are fetched, and who is told about it.
fn image_settings(context: &Context, config: &Config, pulls: Arc<Pulls>) -> ImageSettings {
    let printer = context.printer;
    let logins = Logins::new(&context.environment, move |words| printer.warning(words));
    ImageSettings {
        registries: config.registries.clone(),
        pull: config.pull,
        platform: config.platform.clone(),
        credentials: Some(Arc::new(logins)),
        progress: Some(pulls),
        ..ImageSettings::default()
    }
}

/// What the sandbox needs to know of this machine.
#[must_use]
pub fn sandbox_config(context: &Context, config: &Config, pulls: Arc<Pulls>) -> SandboxConfig {
    let environment = &context.environment;
    let passed = PASSED_VARIABLES
        .iter()
        .filter_map(|(name, _)| Some(((*name).to_owned(), environment.get(name)?.to_owned())));
    SandboxConfig {
        home: environment.home(),
        host_env: passed.collect(),
        show: config.show.clone(),
        nested: config.nested,
        images: image_settings(context, config, pulls),
        ..SandboxConfig::new(
            &config.data_dir,
            environment.get(env_vars::PATH).unwrap_or(USUAL_PATH),
        )
    }
}

/// What the docker backend needs to know of this machine.
#[must_use]
pub fn docker_config(context: &Context, config: &Config, pulls: Arc<Pulls>) -> DockerConfig {
    if let Some((_, Origin::Flag(flag))) = context.layers.get("sandbox.nested") {
        context.printer.warning(&format!(
            "{flag} is for the sandbox: a Docker engine decides itself what its containers may do"
        ));
    }
    let images = image_settings(context, config, pulls);
    if !images.registries.is_empty() {
        context
            .printer
            .warning("[registries] is for the sandbox: a Docker engine has mirrors and plain HTTP in its own configuration");
    }
    DockerConfig {
        host: find_engine(&context.environment, config).map(|engine| engine.host),
        pull: images.pull,
        platform: images.platform,
        credentials: images.credentials,
        progress: images.progress,
        ..DockerConfig::new(&config.data_dir)
    }
}

/// The frozen sources: what git ignores everywhere is ignored here too, and hm's own data is no source.
#[must_use]
pub fn sources(context: &Context, config: &Config) -> SourceStore {
    let mut store = SourceStore::new(config.data_dir.join("sources")).hiding(&config.data_dir);
    if let Some(root) = context.maybe_root() {
        // Git ignores it, where there is git: no step and no server is given what is in it.
        store = store.hiding(crate::secrets::local_file(root));
    }
    if let Some(home) = context.environment.home() {
        store = store.with_home(home);
    }
    match repository::global_excludes(&context.environment) {
        Some(file) => store.with_global_excludes(file),
        None => store,
    }
}
