//! What the sandbox is told by its caller: it never reads the environment itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::oci::ImageSettings;

/// Variables of the host's environment that say where a toolchain lies: a step on `host` gets them.
pub const PASSED_VARIABLES: &[&str] = &[
    "CARGO_HOME",
    "GOROOT",
    "JAVA_HOME",
    "NVM_DIR",
    "PYENV_ROOT",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// How a [`crate::sandbox::SandboxBackend`] works.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Where hm keeps its data; absolute. The sandbox's part is `sandbox/` below it.
    pub data_dir: PathBuf,
    /// The user's home: hidden from steps, but for the toolchains in it that `path` names.
    pub home: Option<PathBuf>,
    /// The host's `PATH`: where programs are found, and the `PATH` of a step on `host`.
    pub path: String,
    /// What a step on `host` gets of the host's environment: those of [`crate::sandbox::PASSED_VARIABLES`] that are set.
    pub host_env: BTreeMap<String, String>,
    /// How images are found in registries and stored; they lie in `oci/` of the data directory.
    pub images: ImageSettings,
    /// A step is stopped when the disk would have fewer bytes free than this.
    pub min_free: u64,
}

impl SandboxConfig {
    /// A configuration with the given directory for data and search path, and defaults for the rest.
    pub fn new(data_dir: impl Into<PathBuf>, path: impl Into<String>) -> Self {
        Self {
            data_dir: data_dir.into(),
            home: None,
            path: path.into(),
            host_env: BTreeMap::new(),
            images: ImageSettings::default(),
            min_free: 256 << 20,
        }
    }
}
