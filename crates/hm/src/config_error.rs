//! What can be wrong with the configuration.

use std::path::PathBuf;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is there and cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is not TOML.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A value makes no sense.
    #[error("`{key} = {value}` ({origin}): {message}")]
    Value {
        /// The setting.
        key: String,
        /// What it was set to.
        value: String,
        /// Where.
        origin: String,
        /// What is wrong.
        message: String,
    },
    /// A token stands where others may read it.
    #[error("{}: `cloud.token` is refused: a token stands in no configuration file", .0.display())]
    Token(PathBuf),
    /// There is nowhere to keep data.
    #[error("no place for hm's data: HOME is not set")]
    NoDataDir,
}
