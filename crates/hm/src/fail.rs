//! Why a command failed: each kind becomes an exit code, a message and hints in one exhaustive match.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use harmont_client::HarmontError;
use hm_dsl::DslError;
use hm_exec::BackendError;
use hm_pipeline_ir::PlanError;
use hm_vm::VmError;

use crate::config_error::ConfigError;
use crate::exit;

/// The result of a command.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a command failed. A build that fails is no failure of the command.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for something that makes no sense here.
    Usage {
        /// What.
        message: String,
        /// What would help.
        hints: Vec<String>,
    },
    /// The configuration cannot be used.
    Config(ConfigError),
    /// The pipeline files could not be rendered.
    Pipeline(DslError),
    /// The plan was refused.
    Plan {
        /// Where it came from.
        from: String,
        /// Why.
        error: PlanError,
    },
    /// A backend could not do its part.
    Backend(BackendError),
    /// A server could not be asked, or has refused.
    Cloud(HarmontError),
    /// A server or an agent of ours could not do its part.
    Server(Box<dyn Error + Send + Sync>),
    /// A machine or a snapshot could not be used.
    Vm(VmError),
    /// A file operation of ours failed.
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Standard output could not be written.
    Output(io::Error),
    /// The user stopped the command before its work began.
    Interrupted,
}

/// What a failure looks like from outside.
#[derive(Debug)]
pub struct Report {
    /// The process's exit code.
    pub exit: u8,
    /// What happened; nothing is said when this is empty.
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl Failure {
    /// A wrong command line, and what would help.
    pub fn usage<H: Into<String>>(message: impl Into<String>, hints: impl IntoIterator<Item = H>) -> Self {
        Self::Usage {
            message: message.into(),
            hints: hints.into_iter().map(Into::into).collect(),
        }
    }

    /// A wrong command line that speaks for itself.
    pub fn plain_usage(message: impl Into<String>) -> Self {
        Self::usage(message, [""; 0])
    }

    /// Wraps an I/O error with what was being done to which file.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// The exit code, the message and the hints.
    #[must_use]
    pub fn report(self) -> Report {
        let (exit, message, hints) = match self {
            Self::Usage { message, hints } => (exit::SETUP, message, hints),
            Self::Pipeline(DslError::Interrupted) | Self::Interrupted => {
                (exit::CANCELED, String::new(), Vec::new())
            }
            Self::Pipeline(error) => {
                let (message, mut hints) = split_hints(&error.to_string());
                if let DslError::Io {
                    what: "create" | "write",
                    ..
                } = error
                {
                    hints.push(DATA_DIR_HINT.into());
                }
                (exit::SETUP, message, hints)
            }
            Self::Config(error) => (exit::SETUP, error.to_string(), config_hints(&error)),
            Self::Plan { from, error } => (exit::SETUP, format!("{from}: {error}"), Vec::new()),
            Self::Backend(BackendError::Local(error)) | Self::Vm(error) => {
                let hints = vm_hints(&error);
                (exit::SETUP, error.to_string(), hints)
            }
            Self::Backend(error @ BackendError::Unauthorized) => {
                (exit::SETUP, error.to_string(), vec![LOGIN_HINT.into()])
            }
            Self::Cloud(error) => {
                let hints = match &error {
                    HarmontError::Unauthorized => vec![LOGIN_HINT.into()],
                    HarmontError::Transport { .. } => vec![REACH_HINT.into()],
                    HarmontError::NotFound { code, .. } if code == "organization_not_found" => {
                        vec!["`hm cloud org list` lists those that you are in".into()]
                    }
                    HarmontError::NotFound { code, .. } if code == "pipeline_not_found" => {
                        vec!["`hm cloud pipeline list` lists those that there are".into()]
                    }
                    _ => Vec::new(),
                };
                (exit::SETUP, error.to_string(), hints)
            }
            Self::Server(error) => (exit::SETUP, chain(error.as_ref()), Vec::new()),
            Self::Backend(error) => (exit::SETUP, error.to_string(), Vec::new()),
            Self::Io { action, path, source } => (
                exit::SETUP,
                format!("{action} {}: {source}", path.display()),
                Vec::new(),
            ),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                (exit::CANCELED, String::new(), Vec::new())
            }
            Self::Output(error) => (
                exit::SETUP,
                format!("cannot write the output: {error}"),
                Vec::new(),
            ),
        };
        Report { exit, message, hints }
    }
}

/// What helps where the server does not know who asks.
const LOGIN_HINT: &str = "`hm cloud login` logs in; HM_API_TOKEN, where it is set, goes over that";

/// What helps where the server cannot be reached.
const REACH_HINT: &str = "is it the right server, and does it run? `hm config show --origin` says who named it, and \
                          `hm cloud login --url URL` names another";

/// What happened, and why.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// What helps where hm's own files cannot be written.
pub const DATA_DIR_HINT: &str =
    "hm keeps its data there: point HM_DATA_DIR or --data-dir to a directory that you may write to";

/// The DSL's errors carry what to do next on lines of their own.
fn split_hints(text: &str) -> (String, Vec<String>) {
    let mut parts = text.split("\n  → ").map(str::to_owned);
    (parts.next().unwrap_or_default(), parts.collect())
}

fn config_hints(error: &ConfigError) -> Vec<String> {
    match error {
        ConfigError::NoDataDir => vec!["set HM_DATA_DIR to a directory that you may write to".into()],
        ConfigError::Value { .. } => {
            vec!["`hm config show --origin` prints every setting and who set it".into()]
        }
        ConfigError::Token(_) => vec![
            "`hm cloud login` keeps it in a file of your own; scripts set HM_API_TOKEN".into(),
            "take it out, and revoke it if others have seen the file".into(),
        ],
        ConfigError::Read { .. } | ConfigError::Syntax { .. } => Vec::new(),
    }
}

fn vm_hints(error: &VmError) -> Vec<String> {
    match error {
        VmError::Unsupported { .. } | VmError::Setup(_) => {
            vec!["`hm doctor` tells what this machine can run, and what mends it".into()]
        }
        VmError::ImageNotFound { image, .. } if !image.is_host() => vec![
            format!("run the step on this machine's own system with `--image {image}=host`,"),
            format!("or for good with `\"{image}\" = \"host\"` under `[images]` in .hm/config.toml"),
        ],
        VmError::SnapshotNotFound(_) => vec!["run the step again: `hm run` keeps what it leaves".into()],
        _ => Vec::new(),
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl From<HarmontError> for Failure {
    fn from(error: HarmontError) -> Self {
        Self::Cloud(error)
    }
}

impl From<VmError> for Failure {
    fn from(error: VmError) -> Self {
        Self::Vm(error)
    }
}
