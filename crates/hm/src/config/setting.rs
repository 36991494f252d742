//! Every setting, declared once: its key in a file, its environment variable, its default and its meaning.

use crate::env_vars;

/// One thing that can be configured.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key in `config.toml`, dotted.
    pub key: &'static str,
    /// Its environment variable.
    pub env: &'static str,
    /// What it is when nobody sets it, in words.
    pub default: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// The table of image names, whose keys are free.
pub const IMAGES: &str = "images";

/// The table of secrets, whose keys are free: where each value is to be had, never what it is.
pub const SECRETS: &str = "secrets";

/// The table of registries, whose keys are free; each is a table of [`REGISTRY_SETTINGS`].
pub const REGISTRIES: &str = "registries";

/// One thing that can be configured for each registry.
#[derive(Debug, Clone, Copy)]
pub struct RegistrySetting {
    /// Its key in the registry's table.
    pub key: &'static str,
    /// Its environment variable.
    pub env: &'static str,
    /// What the variable looks like, in words.
    pub env_form: &'static str,
    /// What it is when nobody sets it, in words.
    pub default: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// What can be set of a registry.
pub const REGISTRY_SETTINGS: &[RegistrySetting] = &[
    RegistrySetting {
        key: "mirrors",
        env: env_vars::HM_REGISTRIES_MIRRORS,
        env_form: "in the variable `docker.io=mirror.example.org`, separated by commas",
        default: "none",
        help: "Asked in this order before the registry itself: `[\"mirror.example.org/hub\"]`, with `http://` in \
               front of one without TLS",
    },
    RegistrySetting {
        key: "plain_http",
        env: env_vars::HM_REGISTRIES_PLAIN_HTTP,
        env_form: "in the variable the registries' names, separated by commas",
        default: "true on loopback, false elsewhere",
        help: "Whether it speaks HTTP without TLS",
    },
    RegistrySetting {
        key: "pull",
        env: env_vars::HM_REGISTRIES_PULL,
        env_form: "in the variable `registry.example.org=missing`, separated by commas",
        default: "`image.pull`",
        help: "When it is asked: `always`, `missing` or `never`",
    },
];

/// All settings but [`IMAGES`] and [`REGISTRIES`].
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "backend",
        env: env_vars::HM_BACKEND,
        default: "sandbox, or docker where the sandbox cannot be",
        help: "What runs builds: `sandbox` (also called `local`), `docker` or `cloud`.",
    },
    Setting {
        key: "parallelism",
        env: env_vars::HM_PARALLELISM,
        default: "the number of processors",
        help: "How many steps may run at once.",
    },
    Setting {
        key: "keep_going",
        env: env_vars::HM_KEEP_GOING,
        default: "false",
        help: "Run what does not depend on a failed step to its end.",
    },
    Setting {
        key: "run.grace",
        env: env_vars::HM_GRACE,
        default: "10s",
        help: "How long a step that is canceled or timed out may take to end after SIGTERM, such as `30s`; `0` kills it at once.",
    },
    Setting {
        key: "format",
        env: env_vars::HM_FORMAT,
        default: "human on a terminal, plain otherwise",
        help: "How a run is shown: `human`, `plain`, `json` or `junit`.",
    },
    Setting {
        key: "logs",
        env: env_vars::HM_LOGS,
        default: "failed on a live terminal, all elsewhere",
        help: "Which steps' output is shown: `failed`, `all` or `none`.",
    },
    Setting {
        key: "data_dir",
        env: env_vars::HM_DATA_DIR,
        default: "$XDG_DATA_HOME/hm, or ~/.local/share/hm",
        help: "Where hm keeps sources, snapshots and recorded runs.",
    },
    Setting {
        key: "network",
        env: env_vars::HM_NETWORK,
        default: "outbound",
        help: "What steps may reach: `outbound`, or `none` for their own localhost alone.",
    },
    Setting {
        key: "git",
        env: env_vars::HM_GIT,
        default: "false",
        help: "Bring `.git` into the source.",
    },
    Setting {
        key: "sandbox.nested",
        env: env_vars::HM_SANDBOX_NESTED,
        default: "false",
        help: "Let steps of the sandbox make user namespaces, as bubblewrap, browsers and Bazel do for sandboxes of their own; \
               docs/security.md says what that opens.",
    },
    Setting {
        key: "docker.host",
        env: env_vars::HM_DOCKER_HOST,
        default: "$DOCKER_HOST, Docker's context, or the first socket of Docker or Podman that is there",
        help: "Where the engine of the backend `docker` listens, such as `unix:///run/podman/podman.sock`.",
    },
    Setting {
        key: "host.show",
        env: env_vars::HM_HOST_SHOW,
        default: "nothing more",
        help: "Files and directories of this machine that a step on `host` sees too: `[\"~/fonts\"]`, in the variable \
               separated by `:`. A repository's own file cannot set it.",
    },
    Setting {
        key: "image.pull",
        env: env_vars::HM_IMAGE_PULL,
        default: "always",
        help: "When registries are asked for an image: `always` (once a run, by one small request), \
               `missing` (for those that are not stored) or `never`.",
    },
    Setting {
        key: "image.platform",
        env: env_vars::HM_IMAGE_PLATFORM,
        default: "this machine's",
        help: "The platform of images, such as `linux/arm64`; one that this machine is not is refused unless asked for here.",
    },
    Setting {
        key: "image.budget",
        env: env_vars::HM_IMAGE_BUDGET,
        default: "20GiB",
        help: "How much disk the images may take up; those used longest ago go first.",
    },
    Setting {
        key: "limits.memory",
        env: env_vars::HM_LIMITS_MEMORY,
        default: "no limit",
        help: "The memory that a step may use, such as `4GiB`.",
    },
    Setting {
        key: "limits.cpus",
        env: env_vars::HM_LIMITS_CPUS,
        default: "no limit",
        help: "The processor time that a step may use, in cores, such as `1.5`.",
    },
    Setting {
        key: "limits.pids",
        env: env_vars::HM_LIMITS_PIDS,
        default: "no limit",
        help: "How many processes and threads a step may have.",
    },
    Setting {
        key: "limits.disk",
        env: env_vars::HM_LIMITS_DISK,
        default: "no limit",
        help: "How much a step may write, such as `20GiB`.",
    },
    Setting {
        key: "artifacts.max_bytes",
        env: env_vars::HM_ARTIFACTS_MAX_BYTES,
        default: "1GiB",
        help: "What one entry of a step's artifacts may have, unless the step says otherwise.",
    },
    Setting {
        key: "cache.budget",
        env: env_vars::HM_CACHE_BUDGET,
        default: "20GiB",
        help: "How much disk the snapshots may take up.",
    },
    Setting {
        key: "cache.floor",
        env: env_vars::HM_CACHE_FLOOR,
        default: "1GiB",
        help: "What cleaning never goes below.",
    },
    Setting {
        key: "cache.min_free",
        env: env_vars::HM_CACHE_MIN_FREE,
        default: "2GiB",
        help: "How much of the disk stays free.",
    },
    Setting {
        key: "cloud.api_url",
        env: env_vars::HM_API_URL,
        default: "the server of the last `hm cloud login`",
        help: "The server of `--backend cloud` and `hm cloud`, such as `https://ci.example.org`.",
    },
    Setting {
        key: "cloud.app_url",
        env: env_vars::HM_APP_URL,
        default: "`cloud.api_url`",
        help: "Where builds are looked at in a browser.",
    },
    Setting {
        key: "cloud.org",
        env: env_vars::HM_ORG,
        default: "what `hm cloud org use` chose, or the only one",
        help: "The organization on the server.",
    },
    Setting {
        key: "cloud.pipeline",
        env: env_vars::HM_CLOUD_PIPELINE,
        default: "found by the repository, or of the pipeline's name",
        help: "The pipeline on the server that builds are of.",
    },
    Setting {
        key: "cloud.max_source",
        env: env_vars::HM_CLOUD_MAX_SOURCE,
        default: "1GiB",
        help: "The most source that is sent to the server, before compression.",
    },
];

/// Settings that are a list of paths.
pub(super) const PATHS: &[&str] = &["host.show"];

/// Settings that only the user may make: a repository's file does not open this machine to its steps.
pub(super) const OF_USER: &[&str] = &["host.show"];

/// The setting of a key.
#[must_use]
pub fn by_key(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
