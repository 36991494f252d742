//! The file that logins to servers are kept in: `credentials.toml` beside the user's configuration, for its owner's
//! eyes alone.
//!
//! It is a file, and not the keyring of the system: on Linux that one is a service of a desktop session, which servers
//! and containers, where `hm` mostly runs, do not have.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::environment::Environment;
use crate::fail::{Failure, Result};

/// What is kept of one server.
#[derive(Debug, Clone, Deserialize)]
pub struct Kept {
    /// The session's token.
    pub token: SecretString,
    /// The organization that was chosen.
    #[serde(default)]
    pub org: Option<String>,
}

#[derive(Default, Deserialize)]
struct Content {
    #[serde(default)]
    current: Option<String>,
    #[serde(default)]
    servers: BTreeMap<String, Kept>,
    /// What others keep in the file, such as the published program's `[entries.harmont-cloud]`.
    #[serde(flatten)]
    rest: toml::Table,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("current", &self.current)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

/// All logins to servers.
#[derive(Debug)]
pub struct KeptLogins {
    path: PathBuf,
    content: Content,
}

impl KeptLogins {
    /// Reads them; none where there is no file.
    ///
    /// # Errors
    /// When the file cannot be used, or others may read it.
    pub fn read(environment: &Environment) -> Result<Self> {
        let path = environment
            .user_config()
            .ok_or_else(|| Failure::plain_usage("no place for the login: HOME is not set"))?
            .with_file_name("credentials.toml");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let content = Content::default();
                return Ok(Self { path, content });
            }
            Err(error) => return Err(Failure::io("cannot read", &path)(error)),
        };
        let mode = fs::metadata(&path)
            .map_err(Failure::io("cannot read", &path))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(Failure::usage(
                format!("others may read {}, which has your logins", path.display()),
                [
                    format!("chmod 600 {}", path.display()),
                    "log out and in again if somebody may have read it".into(),
                ],
            ));
        }
        // The parser's own words may quote a token.
        let content = toml::from_str(&text).map_err(|_| {
            Failure::usage(
                format!("{} is not what `hm cloud login` writes", path.display()),
                ["remove it, and log in again"],
            )
        })?;
        Ok(Self { path, content })
    }

    /// The server that was logged in to last.
    #[must_use]
    pub fn current(&self) -> Option<&str> {
        self.content.current.as_deref()
    }

    /// What is kept of a server.
    #[must_use]
    pub fn of(&self, url: &str) -> Option<&Kept> {
        self.content.servers.get(url)
    }

    /// The file.
    #[cfg(test)]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps a login, which is the current one from now on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&mut self, url: &str, kept: Kept) -> Result<()> {
        self.content.servers.insert(url.to_owned(), kept);
        self.content.current = Some(url.to_owned());
        self.write()
    }

    /// Remembers the organization of a server that is logged in to.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn choose_org(&mut self, url: &str, org: &str) -> Result<bool> {
        let Some(kept) = self.content.servers.get_mut(url) else {
            return Ok(false);
        };
        kept.org = Some(org.to_owned());
        self.write()?;
        Ok(true)
    }

    /// Forgets a login.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget(&mut self, url: &str) -> Result<()> {
        self.content.servers.remove(url);
        if self.content.current.as_deref() == Some(url) {
            self.content.current = self.content.servers.keys().next().cloned();
        }
        self.write()
    }

    /// Replaces the file in one step.
    fn write(&self) -> Result<()> {
        let mut servers = toml::Table::new();
        for (url, kept) in &self.content.servers {
            let mut server = toml::Table::new();
            server.insert("token".into(), kept.token.expose_secret().into());
            if let Some(org) = &kept.org {
                server.insert("org".into(), org.as_str().into());
            }
            servers.insert(url.clone(), server.into());
        }
        let mut table = self.content.rest.clone();
        if let Some(current) = &self.content.current {
            table.insert("current".into(), current.as_str().into());
        }
        table.insert("servers".into(), servers.into());
        write_private(
            &self.path,
            &format!("# Logins of `hm cloud login`. Show them to nobody.\n{table}"),
        )
    }
}

/// Writes a file that its owner alone may read, in one step; so are the directories that are made for it.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(directory)
            .map_err(Failure::io("cannot create", directory))?;
    }
    let mut half = path.as_os_str().to_owned();
    half.push(format!(".{}", std::process::id()));
    let half = PathBuf::from(half);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options
        .open(&half)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&half, path));
    if written.is_err() {
        // What is half written is of no use; there may be nothing.
        let _ = fs::remove_file(&half);
    }
    written.map_err(Failure::io("cannot write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(home: &Path) -> Environment {
        Environment::of_variables([("HOME".to_owned(), home.display().to_string())])
    }

    fn kept(token: &str) -> Kept {
        Kept {
            token: token.into(),
            org: None,
        }
    }

    #[test]
    fn a_login_is_kept_for_its_owner_alone_and_forgotten() {
        let home = tempfile::tempdir().expect("a directory");
        let environment = environment(home.path());
        let mut logins = KeptLogins::read(&environment).expect("none yet");
        logins.keep("http://a", kept("one")).expect("kept");
        logins.keep("http://b", kept("two")).expect("kept");
        assert!(logins.choose_org("http://a", "team").expect("kept"));
        assert!(!logins.choose_org("http://c", "team").expect("nothing to keep"));

        let mode = fs::metadata(logins.path()).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut logins = KeptLogins::read(&environment).expect("they are read");
        assert_eq!(logins.current(), Some("http://b"));
        let a = logins.of("http://a").expect("a login");
        assert_eq!((a.token.expose_secret(), a.org.as_deref()), ("one", Some("team")));
        assert!(!format!("{logins:?}").contains("two"));

        logins.forget("http://b").expect("forgotten");
        assert_eq!(logins.current(), Some("http://a"));
        assert!(logins.of("http://b").is_none());
    }

    #[test]
    fn entries_of_other_programs_stay_when_a_login_is_written() {
        let home = tempfile::tempdir().expect("a directory");
        let environment = environment(home.path());
        let path = KeptLogins::read(&environment).expect("none").path().to_owned();
        let others = "format = 1\n[entries.harmont-cloud]\ntoken = \"theirs\"\n";
        write_private(&path, others).expect("a file");
        let mut logins = KeptLogins::read(&environment).expect("it is read");
        assert!(!format!("{logins:?}").contains("theirs"));
        logins.keep("http://a", kept("one")).expect("kept");
        logins.forget("http://a").expect("forgotten");
        let text = fs::read_to_string(&path).expect("a file");
        let table: toml::Table = text.parse().expect("TOML");
        assert_eq!(
            table["entries"]["harmont-cloud"]["token"].as_str(),
            Some("theirs")
        );
        assert_eq!(table["format"].as_integer(), Some(1));
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_broken_is_refused_without_its_content() {
        let home = tempfile::tempdir().expect("a directory");
        let environment = environment(home.path());
        let path = KeptLogins::read(&environment).expect("none").path().to_owned();
        write_private(&path, "servers = \"hm_secret\"").expect("a file");
        let failure = KeptLogins::read(&environment).expect_err("it is broken").report();
        assert!(!failure.message.contains("hm_secret"), "{}", failure.message);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
        let failure = KeptLogins::read(&environment)
            .expect_err("others may read it")
            .report();
        assert!(failure.hints[0].starts_with("chmod 600 "), "{:?}", failure.hints);
    }
}
