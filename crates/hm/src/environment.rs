//! What the process was started with, read once. Everything below gets it passed in.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Instant;

use crate::env_vars;

/// The process's surroundings.
#[derive(Debug, Clone)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// The command line, program name first.
    pub args: Vec<String>,
    /// Standard input is a terminal.
    pub stdin_tty: bool,
    /// Standard output is a terminal.
    pub stdout_tty: bool,
    /// Standard error is a terminal.
    pub stderr_tty: bool,
    /// When the process began, or nearly.
    pub started: Instant,
}

impl Environment {
    /// Reads the process's surroundings.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            args: std::env::args_os()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect(),
            stdin_tty: std::io::stdin().is_terminal(),
            stdout_tty: std::io::stdout().is_terminal(),
            stderr_tty: std::io::stderr().is_terminal(),
            started: Instant::now(),
        }
    }

    /// Surroundings with these variables and no terminal.
    #[cfg(test)]
    pub fn of_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            cwd: PathBuf::from("/"),
            args: Vec::new(),
            stdin_tty: false,
            stdout_tty: false,
            stderr_tty: false,
            started: Instant::now(),
        }
    }

    /// A variable's value; one that is set to nothing counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// All variables, for a child process.
    #[must_use]
    pub const fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// The user's home.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.get(env_vars::HOME)
            .map(PathBuf::from)
            .filter(|home| home.is_absolute())
    }

    /// The user's configuration file, whether or not it is there.
    #[must_use]
    pub fn user_config(&self) -> Option<PathBuf> {
        self.xdg(env_vars::XDG_CONFIG_HOME, ".config")
            .map(|base| base.join("hm/config.toml"))
    }

    /// Where hm keeps its data unless told otherwise.
    #[must_use]
    pub fn default_data_dir(&self) -> Option<PathBuf> {
        self.xdg(env_vars::XDG_DATA_HOME, ".local/share")
            .map(|base| base.join("hm"))
    }

    /// Whether the output may carry characters beyond ASCII.
    #[must_use]
    pub fn unicode(&self) -> bool {
        let locale = env_vars::LOCALE
            .iter()
            .find_map(|name| self.get(name))
            .unwrap_or_default()
            .to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    }

    fn xdg(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let set = self
            .get(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        set.or_else(|| self.home().map(|home| home.join(below_home)))
    }
}
