//! What a backend can honour.

/// What a backend can honour of [`crate::RunOptions`] and what it can tell. All false by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `RunOptions::parallelism`.
    pub honors_parallelism: bool,
    /// `RunOptions::keep_going`.
    pub honors_keep_going: bool,
    /// It only watches a build that runs elsewhere.
    pub is_observer: bool,
    /// It tells which steps were cache hits.
    pub reports_cache_hits: bool,
    /// `RunOptions::watch == false`: submit and return.
    pub supports_no_watch: bool,
    /// Its builds have a page to watch.
    pub provides_watch_url: bool,
    /// `RunOptions::timeout`.
    pub enforces_timeout: bool,
    /// `RunOptions::no_cache`.
    pub honors_no_cache: bool,
    /// `RunOptions::only` and `RunOptions::from`.
    pub honors_step_selection: bool,
    /// `RunOptions::images`.
    pub honors_image_map: bool,
    /// Its snapshots can be opened by `hm shell` on this machine.
    pub keeps_snapshots: bool,
    /// Services beside steps.
    pub runs_services: bool,
    /// Steps are given the secrets that they ask for.
    pub gives_secrets: bool,
    /// They are those of `RunRequest::secrets`, and not those of whatever runs the build elsewhere.
    pub takes_secrets: bool,
    /// Artifacts.
    pub collects_artifacts: bool,
    /// Cache directories.
    pub keeps_cache_directories: bool,
    /// Memory limits of steps.
    pub limits_memory: bool,
    /// Processor time limits of steps.
    pub limits_cpus: bool,
    /// Process limits of steps.
    pub limits_pids: bool,
    /// Disk limits of steps.
    pub limits_disk: bool,
}
