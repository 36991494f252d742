//! Infrastructure failures. A build that fails is no error.

/// The result of an operation on a backend.
pub type Result<T, E = BackendError> = std::result::Result<T, E>;

/// Why a build could not be started, watched or ended; never that one of its steps failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The server does not know who is asking.
    #[error("not logged in, or the login has expired: run `hm cloud login`")]
    Unauthorized,
    /// The request was understood and refused.
    #[error("refused ({code}): {message}")]
    Rejected {
        /// A stable code, such as `invalid_plan`.
        code: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Something that the request names is not there.
    #[error("not found: {0}")]
    NotFound(String),
    /// The server could not be reached.
    #[error("cannot reach the server: {0}")]
    Transport(String),
    /// The log stream broke for good.
    #[error("the log stream broke: {0}")]
    LogStream(String),
    /// This machine could not do its part.
    #[error(transparent)]
    Local(#[from] hm_vm::VmError),
    /// This machine could not do its part for one step.
    #[error("step `{step}`: {source}")]
    Step {
        /// The step's key in the plan.
        step: String,
        /// What went wrong.
        source: hm_vm::VmError,
    },
    /// A step asks for a secret that the run was not given.
    #[error(
        "step `{step}` needs the secret `{secret}`, which the run was not given: `--secret {secret}` takes it from the \
         variable {secret}, `--secret {secret}=env:NAME` from another one, `--secret {secret}=file:PATH` from a file"
    )]
    MissingSecret {
        /// The step's key in the plan.
        step: String,
        /// What the plan calls the secret.
        secret: String,
    },
    /// The source archive is larger than the server takes.
    #[error(
        "the source is {observed} bytes, the server takes {cap}; the largest paths: {}",
        paths(largest)
    )]
    SourceTooLarge {
        /// Its size in bytes.
        observed: u64,
        /// The most that is taken, in bytes.
        cap: u64,
        /// The largest paths and their sizes in bytes.
        largest: Vec<(String, u64)>,
    },
    /// Anything else, such as a task that panicked.
    #[error("{0}")]
    Other(String),
}

fn paths(largest: &[(String, u64)]) -> String {
    largest
        .iter()
        .map(|(path, size)| format!("{path} ({size})"))
        .collect::<Vec<_>>()
        .join(", ")
}
