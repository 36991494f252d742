//! What a backend can do beyond running commands.

/// What a [`crate::VmBackend`] can do of what not every one can. All false by default: whoever asks for something
/// that is false here is refused before anything starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a feature of its own")]
#[non_exhaustive]
pub struct Features {
    /// Pods: [`crate::VmBackend::open_pod`], and so services.
    pub pods: bool,
    /// [`crate::ExecRequest::secrets`].
    pub secrets: bool,
    /// [`crate::ExecRequest::caches`].
    pub caches: bool,
    /// [`crate::Vm::export`], and so artifacts.
    pub exports: bool,
    /// [`crate::Cancel::terminate`] sends SIGTERM and waits for the grace; where this is false, it kills at once.
    pub terminates: bool,
    /// [`crate::Limits::memory`].
    pub limits_memory: bool,
    /// [`crate::Limits::cpus`].
    pub limits_cpus: bool,
    /// [`crate::Limits::pids`].
    pub limits_pids: bool,
    /// [`crate::Limits::disk`].
    pub limits_disk: bool,
}

impl Features {
    /// Every one of them.
    pub const ALL: Self = Self {
        pods: true,
        secrets: true,
        caches: true,
        exports: true,
        terminates: true,
        limits_memory: true,
        limits_cpus: true,
        limits_pids: true,
        limits_disk: true,
    };
}
