//! What the sandbox gets from its caller: it never reads the environment itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hm_oci::ImageSettings;

/// How a variable of the host's environment passes into a step on `host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// As it is.
    Text,
    /// It names directories, which are shown; it stays out when they cannot be.
    Directories,
    /// It names a file, which is shown read-only; it stays out when that cannot be.
    File,
    /// It names servers; it stays out when it holds a password or a token, or names this machine's own loopback, which
    /// steps do not reach.
    Servers,
}

/// Variables of the host's environment that a step on `host` gets: where toolchains are, whom to trust, which mirrors
/// and proxies to use, and the language. `docs/steps.md` has the same list.
pub const PASSED_VARIABLES: &[(&str, Passing)] = &[
    ("CARGO_HOME", Passing::Text),
    ("GOROOT", Passing::Directories),
    ("JAVA_HOME", Passing::Directories),
    ("NVM_DIR", Passing::Directories),
    ("PYENV_ROOT", Passing::Directories),
    ("RUSTUP_HOME", Passing::Directories),
    ("RUSTUP_TOOLCHAIN", Passing::Text),
    ("AWS_CA_BUNDLE", Passing::File),
    ("CARGO_HTTP_CAINFO", Passing::File),
    ("CURL_CA_BUNDLE", Passing::File),
    ("DENO_CERT", Passing::File),
    ("GIT_SSL_CAINFO", Passing::File),
    ("NIX_SSL_CERT_FILE", Passing::File),
    ("NODE_EXTRA_CA_CERTS", Passing::File),
    ("PIP_CERT", Passing::File),
    ("REQUESTS_CA_BUNDLE", Passing::File),
    ("SSL_CERT_DIR", Passing::Directories),
    ("SSL_CERT_FILE", Passing::File),
    ("GONOPROXY", Passing::Text),
    ("GONOSUMDB", Passing::Text),
    ("GOPRIVATE", Passing::Text),
    ("GOPROXY", Passing::Servers),
    ("GOSUMDB", Passing::Servers),
    ("NPM_CONFIG_REGISTRY", Passing::Servers),
    ("PIP_EXTRA_INDEX_URL", Passing::Servers),
    ("PIP_INDEX_URL", Passing::Servers),
    ("PIP_TRUSTED_HOST", Passing::Text),
    ("RUSTUP_DIST_SERVER", Passing::Servers),
    ("RUSTUP_UPDATE_ROOT", Passing::Servers),
    ("UV_DEFAULT_INDEX", Passing::Servers),
    ("UV_INDEX", Passing::Servers),
    ("UV_INDEX_URL", Passing::Servers),
    ("npm_config_registry", Passing::Servers),
    ("ALL_PROXY", Passing::Servers),
    ("HTTPS_PROXY", Passing::Servers),
    ("HTTP_PROXY", Passing::Servers),
    ("NO_PROXY", Passing::Text),
    ("all_proxy", Passing::Servers),
    ("http_proxy", Passing::Servers),
    ("https_proxy", Passing::Servers),
    ("no_proxy", Passing::Text),
    ("LANG", Passing::Text),
    ("LC_ALL", Passing::Text),
    ("LC_CTYPE", Passing::Text),
];

/// How a [`crate::SandboxBackend`] works.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Where hm keeps its data; absolute. The sandbox's part is `sandbox/` below it.
    pub data_dir: PathBuf,
    /// The user's home: hidden from steps, but for the toolchains in it that `path` names.
    pub home: Option<PathBuf>,
    /// The host's `PATH`: where programs are found, and the `PATH` of a step on `host`.
    pub path: String,
    /// What a step on `host` may get of the host's environment: those of [`PASSED_VARIABLES`] that are
    /// set.
    pub host_env: BTreeMap<String, String>,
    /// Files and directories of the host that a step on `host` sees beside what it always sees; absolute.
    pub show: Vec<PathBuf>,
    /// Commands may make user namespaces, and what these allow: mounts, networks and processes of their own. `docs/security.md`
    /// says what that opens.
    pub nested: bool,
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
            show: Vec::new(),
            nested: false,
            images: ImageSettings::default(),
            min_free: 256 << 20,
        }
    }
}
