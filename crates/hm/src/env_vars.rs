//! Every environment variable that `hm` reads, each one a constant.

/// The backend that runs builds, as `--backend`.
pub const HM_BACKEND: &str = "HM_BACKEND";
/// How many steps may run at once, as `--parallelism`.
pub const HM_PARALLELISM: &str = "HM_PARALLELISM";
/// How long a canceled step may take to end after SIGTERM, as `--grace`.
pub const HM_GRACE: &str = "HM_GRACE";
/// `true` runs what does not depend on a failed step to its end, as `--keep-going`.
pub const HM_KEEP_GOING: &str = "HM_KEEP_GOING";
/// How a run is shown, as `--format`.
pub const HM_FORMAT: &str = "HM_FORMAT";
/// Which steps' output is shown, as `--logs`.
pub const HM_LOGS: &str = "HM_LOGS";
/// Where hm keeps sources, snapshots and recorded runs, as `--data-dir`.
pub const HM_DATA_DIR: &str = "HM_DATA_DIR";
/// What stands in for images: `NAME=WHAT`, separated by commas, as `--image`.
pub const HM_IMAGES: &str = "HM_IMAGES";
/// What steps may reach: `outbound` or `none`, as `--network`.
pub const HM_NETWORK: &str = "HM_NETWORK";
/// `true` brings `.git` into the source, as `--git`.
pub const HM_GIT: &str = "HM_GIT";
/// `true` lets steps make user namespaces, as `--nested`.
pub const HM_SANDBOX_NESTED: &str = "HM_SANDBOX_NESTED";
/// Where the engine of the backend `docker` listens.
pub const HM_DOCKER_HOST: &str = "HM_DOCKER_HOST";
/// When registries are asked for an image: `always`, `missing` or `never`, as `--pull`.
pub const HM_IMAGE_PULL: &str = "HM_IMAGE_PULL";
/// The platform of images, as `--platform`.
pub const HM_IMAGE_PLATFORM: &str = "HM_IMAGE_PLATFORM";
/// How much disk the images may take up, such as `20GiB`.
pub const HM_IMAGE_BUDGET: &str = "HM_IMAGE_BUDGET";
/// What of this machine a step on `host` sees beside what it always sees: paths, separated by `:`.
pub const HM_HOST_SHOW: &str = "HM_HOST_SHOW";
/// Registries' mirrors: `docker.io=mirror.example.org`, separated by commas.
pub const HM_REGISTRIES_MIRRORS: &str = "HM_REGISTRIES_MIRRORS";
/// Registries that speak HTTP without TLS, separated by commas.
pub const HM_REGISTRIES_PLAIN_HTTP: &str = "HM_REGISTRIES_PLAIN_HTTP";
/// When single registries are asked: `registry.example.org=missing`, separated by commas.
pub const HM_REGISTRIES_PULL: &str = "HM_REGISTRIES_PULL";
/// The memory that a step may use, such as `4GiB`.
pub const HM_LIMITS_MEMORY: &str = "HM_LIMITS_MEMORY";
/// The processor time that a step may use, in cores.
pub const HM_LIMITS_CPUS: &str = "HM_LIMITS_CPUS";
/// How many processes and threads a step may have.
pub const HM_LIMITS_PIDS: &str = "HM_LIMITS_PIDS";
/// How much a step may write, such as `20GiB`.
pub const HM_LIMITS_DISK: &str = "HM_LIMITS_DISK";
/// What one entry of a step's artifacts may have, such as `1GiB`.
pub const HM_ARTIFACTS_MAX_BYTES: &str = "HM_ARTIFACTS_MAX_BYTES";
/// How much disk the snapshots may take up, such as `20GiB`.
pub const HM_CACHE_BUDGET: &str = "HM_CACHE_BUDGET";
/// What cleaning never goes below, such as `1GiB`.
pub const HM_CACHE_FLOOR: &str = "HM_CACHE_FLOOR";
/// How much of the disk stays free, such as `2GiB`.
pub const HM_CACHE_MIN_FREE: &str = "HM_CACHE_MIN_FREE";
/// The server that `--backend cloud` and `hm cloud` speak to.
pub const HM_API_URL: &str = "HM_API_URL";
/// The server's token, over what `hm cloud login` has kept. In no configuration file.
pub const HM_API_TOKEN: &str = "HM_API_TOKEN";
/// The organization on the server, as `--org`.
pub const HM_ORG: &str = "HM_ORG";
/// Where builds are looked at in a browser.
pub const HM_APP_URL: &str = "HM_APP_URL";
/// The pipeline on the server, as `--cloud-pipeline`.
pub const HM_CLOUD_PIPELINE: &str = "HM_CLOUD_PIPELINE";
/// The most source that is sent to the server, such as `1GiB`.
pub const HM_CLOUD_MAX_SOURCE: &str = "HM_CLOUD_MAX_SOURCE";
/// The token of `hm agent`.
pub const HM_AGENT_TOKEN: &str = "HM_AGENT_TOKEN";
/// The program that gets a page's URL as its argument, over [`BROWSER`].
pub const HM_BROWSER: &str = "HM_BROWSER";
/// A file that `hm run` writes its counters to, as `--stats`.
pub const HM_STATS: &str = "HM_STATS";

/// The browsers to try, in the order of a list that is separated by colons.
pub const BROWSER: &str = "BROWSER";
/// Any value says that nobody sits here, so that no browser is opened.
pub const CI: &str = "CI";
/// Any of them tells that the terminal is on another machine.
pub const SSH: [&str; 3] = ["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"];
/// Any of them tells that there is a screen for a browser.
pub const DISPLAYS: [&str; 2] = ["DISPLAY", "WAYLAND_DISPLAY"];

/// Where Docker's engine listens; [`HM_DOCKER_HOST`] goes over it.
pub const DOCKER_HOST: &str = "DOCKER_HOST";
/// The directory of Docker's own configuration; `~/.docker` when it is not set.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// The name of Docker's context, over the one of its configuration.
pub const DOCKER_CONTEXT: &str = "DOCKER_CONTEXT";
/// Podman's file of credentials.
pub const REGISTRY_AUTH_FILE: &str = "REGISTRY_AUTH_FILE";
/// Where the user's sockets, and Podman's file of credentials, lie.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// The user's home, hidden from steps.
pub const HOME: &str = "HOME";
/// Where programs are found; toolchains inside the home that it names are shown to steps.
pub const PATH: &str = "PATH";
/// Where the user's configuration lies; `~/.config` when it is not set.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Where the user's data lies; `~/.local/share` when it is not set.
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";
/// The command that `hm shell` starts on a terminal; steps' images decide when it is not there.
pub const TERM: &str = "TERM";
/// Any value keeps colour out of the output.
pub const NO_COLOR: &str = "NO_COLOR";
/// The encoding of the output, in this order of precedence.
pub const LOCALE: [&str; 3] = ["LC_ALL", "LC_CTYPE", "LANG"];
