//! The typed configuration.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hm_oci::{Platform, PullPolicy, RegistrySettings};
use hm_snapshots::Budget;
use hm_vm::{DEFAULT_GRACE, ImageMap, ImageReference, Limits, Network};

use super::cloud::CloudSettings;
use super::reader::Reader;
use super::words::{PULL_WORDS, parse_pull};
use super::{Layers, registries};
use crate::choices::{BackendChoice, Format, Logs, parse_duration};
use crate::config_error::ConfigError;
use crate::environment::Environment;

const GIB: u64 = 1 << 30;

/// The configuration, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// What runs builds; `None` is what this machine can run.
    pub backend: Option<BackendChoice>,
    /// How many steps may run at once.
    pub parallelism: Option<NonZeroUsize>,
    /// Run what does not depend on a failed step to its end.
    pub keep_going: bool,
    /// How long a step may take to end after SIGTERM.
    pub grace: Duration,
    /// How a run is shown; `None` depends on the terminal.
    pub format: Option<Format>,
    /// Which steps' output is shown; `None` is the format's choice.
    pub logs: Option<Logs>,
    /// Where hm keeps its data.
    pub data_dir: PathBuf,
    /// What of this machine a step on `host` sees beside what it always sees.
    pub show: Vec<PathBuf>,
    /// What stands in for images.
    pub images: ImageMap,
    /// What steps may reach.
    pub network: Network,
    /// Bring `.git` into the source.
    pub git: bool,
    /// Steps may make user namespaces.
    pub nested: bool,
    /// What a step may use up.
    pub limits: Limits,
    /// What one entry of a step's artifacts may have.
    pub artifact_bytes: u64,
    /// How much disk the snapshots may take up.
    pub cache: Budget,
    /// Where Docker's engine listens, when somebody says so.
    pub docker_host: Option<String>,
    /// When registries are asked for an image.
    pub pull: PullPolicy,
    /// The platform of images; `None` is this machine's.
    pub platform: Option<Platform>,
    /// How much disk the images may take up.
    pub image_budget: u64,
    /// What is particular to single registries.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// The server that builds may be submitted to.
    pub cloud: CloudSettings,
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// A value that makes no sense, and who set it.
    pub fn check(layers: &Layers, environment: &Environment) -> Result<Self, ConfigError> {
        let read = Reader { layers };
        let mut images = ImageMap::default();
        for (name, target, _) in layers.images() {
            images.insert(ImageReference::new(name), ImageReference::new(target));
        }
        let data_dir = match layers.get("data_dir") {
            Some((text, _)) => absolute(text, environment),
            None => environment.default_data_dir().ok_or(ConfigError::NoDataDir)?,
        };
        Ok(Self {
            backend: read.choice("backend")?,
            parallelism: read.value("parallelism", "a number of steps, at least 1", |text| {
                text.parse().ok()
            })?,
            keep_going: read.flag("keep_going")?,
            grace: read
                .value("run.grace", "a duration, such as `30s`", |text| {
                    parse_duration(text).ok()
                })?
                .unwrap_or(DEFAULT_GRACE),
            format: read.choice("format")?,
            logs: read.choice("logs")?,
            data_dir,
            show: layers.get("host.show").map_or_else(Vec::new, |(paths, _)| {
                let paths = paths.split(':').filter(|path| !path.is_empty());
                paths.map(|path| absolute(path, environment)).collect()
            }),
            images,
            network: read
                .value("network", "`outbound` or `none`", |text| match text {
                    "outbound" => Some(Network::Outbound),
                    "none" => Some(Network::None),
                    _ => None,
                })?
                .unwrap_or_default(),
            git: read.flag("git")?,
            nested: read.flag("sandbox.nested")?,
            limits: Limits {
                memory: read.size("limits.memory")?,
                cpus: read.value("limits.cpus", "a number of cores above 0", |text| {
                    text.parse()
                        .ok()
                        .filter(|cores: &f64| cores.is_finite() && *cores > 0.0)
                })?,
                pids: read.value("limits.pids", "a number of processes", |text| text.parse().ok())?,
                disk: read.size("limits.disk")?,
            },
            artifact_bytes: read.size("artifacts.max_bytes")?.unwrap_or(GIB),
            cache: Budget {
                max_bytes: read.size("cache.budget")?.unwrap_or(20 * GIB),
                floor_bytes: read.size("cache.floor")?.unwrap_or(GIB),
                min_free_bytes: read.size("cache.min_free")?.unwrap_or(2 * GIB),
            },
            docker_host: layers.get("docker.host").map(|(host, _)| host.to_owned()),
            pull: read
                .value("image.pull", PULL_WORDS, parse_pull)?
                .unwrap_or_default(),
            platform: read.value("image.platform", "a platform, such as `linux/arm64`", |text| {
                text.parse().ok()
            })?,
            image_budget: read.size("image.budget")?.unwrap_or(20 * GIB),
            registries: registries::check(layers)?,
            cloud: CloudSettings::check(&read)?,
        })
    }
}

fn absolute(text: &str, environment: &Environment) -> PathBuf {
    match (text.strip_prefix("~/"), environment.home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => environment.cwd.join(Path::new(text)),
    }
}
