//! What of the user's environment passes into a step: variables that say where things are, and the files that they
//! name. Certificates and mirrors pass; what holds a password or a token does not.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::addresses::{is_loopback, is_secret};
use super::places::{SHOWN, real};
use super::{private, user_files};
use crate::surface::{PASSED_VARIABLES, Passing, SandboxConfig};

/// Directories of a home that programs install commands into, after those that `PATH` names.
const INSTALLED_INTO: &[&str] = &[".local/bin", ".cargo/bin", "go/bin"];

/// What passes.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) env: BTreeMap<String, String>,
    /// Files that are shown read-only where they are.
    pub(super) files: Vec<PathBuf>,
}

/// What passes where these directories are shown.
pub(super) fn passed(config: &SandboxConfig, home: &Path, shown: &[PathBuf]) -> Passed {
    let mut passed = Passed::default();
    for (name, how) in PASSED_VARIABLES {
        let Some(value) = config.host_env.get(*name) else {
            continue;
        };
        let passes = match how {
            Passing::Text => true,
            Passing::Servers => !is_secret(value) && !is_loopback(value),
            Passing::Directories => value
                .split(':')
                .all(|directory| is_visible(Path::new(directory), shown)),
            Passing::File => passed.file(Path::new(value), config, shown),
        };
        if passes {
            passed.env.insert((*name).to_owned(), value.clone());
        }
    }
    for path in config.show.iter().filter(|path| path.is_file()) {
        passed.file(path, config, shown);
    }
    let cargo_home = config.host_env.get("CARGO_HOME").map(Path::new);
    for (_, text) in user_files::settings(home, cargo_home) {
        // Whom to trust, as `cafile=/etc/company.pem`.
        let words = text.split(|character: char| character.is_whitespace() || "=\"'".contains(character));
        for word in words.filter(|word| word.starts_with('/')) {
            passed.file(Path::new(word), config, shown);
        }
    }
    let mut path = config.path.clone();
    for directory in INSTALLED_INTO.iter().map(|inside| home.join(inside)) {
        let directory = directory.to_string_lossy();
        if !path.split(':').any(|known| known == directory) {
            path.push(':');
            path.push_str(&directory);
        }
    }
    passed.env.insert("PATH".into(), path);
    passed
}

impl Passed {
    /// Whether the step can read a file, as it is or shown for this.
    fn file(&mut self, path: &Path, config: &SandboxConfig, shown: &[PathBuf]) -> bool {
        if is_visible(path, shown) {
            return path.exists();
        }
        let is_private = private::is_hidden(path) || real(path).starts_with(real(&config.data_dir));
        let readable = rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok();
        if is_private || !readable || !path.is_file() || !is_plain(path) {
            return false;
        }
        if !self.files.iter().any(|file| file == path) {
            self.files.push(path.to_owned());
        }
        true
    }
}

/// Absolute, and without a way up.
fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

/// Whether a step sees a path without anything being done for it.
fn is_visible(path: &Path, shown: &[PathBuf]) -> bool {
    let leads_to = real(path);
    let seen = |path: &Path| {
        shown.iter().any(|directory| path.starts_with(directory))
            || SHOWN
                .iter()
                .any(|name| path.starts_with(Path::new("/").join(name)))
    };
    is_plain(path) && seen(path) && seen(&leads_to) && !private::is_hidden(&leads_to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_a_variable_names_is_shown_or_the_variable_stays_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("company.pem");
        std::fs::write(&file, "certificates").unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let mut config = SandboxConfig::new(directory.path().join("data"), "/usr/bin");
        config.host_env = BTreeMap::from([
            ("SSL_CERT_FILE".to_owned(), text(&file)),
            ("PIP_CERT".to_owned(), text(&file)),
            (
                "CURL_CA_BUNDLE".to_owned(),
                text(&directory.path().join("gone.pem")),
            ),
            ("GIT_SSL_CAINFO".to_owned(), "relative.pem".to_owned()),
            ("JAVA_HOME".to_owned(), text(&directory.path().join("jdk"))),
            (
                "PIP_INDEX_URL".to_owned(),
                "https://me:pass@example.org".to_owned(),
            ),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ]);
        let passed = passed(&config, Path::new("/home/nobody"), &[]);
        assert_eq!(passed.files, [file]);
        let names: Vec<_> = passed.env.keys().map(String::as_str).collect();
        assert_eq!(names, ["LANG", "PATH", "PIP_CERT", "SSL_CERT_FILE"]);
    }
}
