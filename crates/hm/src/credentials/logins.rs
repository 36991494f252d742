//! The credentials of this user.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use hm_oci::{CredentialSource, Credentials};

use super::file::{AuthFile, docker_directory};
use super::{helper, server_address};
use crate::env_vars;
use crate::environment::Environment;

/// Is told what is wrong with somebody's credentials.
type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// Looks for credentials when a registry asks for some.
#[derive(Clone)]
pub struct Logins {
    files: Vec<PathBuf>,
    path: String,
    warn: Warn,
}

/// What a file knows about, without any secret.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// The registries' names.
    pub registries: Vec<String>,
    /// The helper for all others.
    pub store: Option<String>,
    /// What is wrong with the file.
    pub wrong: Option<String>,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").field("files", &self.files).finish()
    }
}

impl Logins {
    /// Reads nothing yet.
    pub fn new(environment: &Environment, warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            files: files(environment),
            path: environment.get(env_vars::PATH).unwrap_or_default().to_owned(),
            warn: Arc::new(warn),
        }
    }

    /// What is there, for `hm doctor`. Asks no helper.
    pub fn survey(&self) -> Vec<Found> {
        let look = |file: &PathBuf| {
            let read = AuthFile::read(file).transpose()?;
            let (registries, store, wrong) = match read {
                Ok(read) => {
                    let (registries, store) = read.names();
                    (registries, store.map(str::to_owned), None)
                }
                Err(wrong) => (Vec::new(), None, Some(wrong)),
            };
            Some(Found {
                file: file.clone(),
                registries,
                store,
                wrong,
            })
        };
        self.files.iter().filter_map(look).collect()
    }

    fn look_up(&self, registry: &str) -> Option<Credentials> {
        for path in &self.files {
            let file = match AuthFile::read(path) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(wrong) => {
                    (self.warn)(&wrong);
                    continue;
                }
            };
            if let Some(name) = file.helper(registry) {
                match helper::ask(name, &self.path, server_address(registry), helper::PATIENCE) {
                    Ok(Some(credentials)) => return Some(credentials),
                    Ok(None) => {}
                    Err(wrong) => (self.warn)(&format!("{wrong} ({} names it)", path.display())),
                }
            }
            match file.credentials(registry) {
                Ok(Some(credentials)) => return Some(credentials),
                Ok(None) => {}
                Err(wrong) => (self.warn)(&format!("{}: {wrong}", path.display())),
            }
        }
        None
    }
}

impl CredentialSource for Logins {
    fn credentials(&self, registry: &str) -> Option<Credentials> {
        self.look_up(registry)
    }
}

/// Where credentials may lie: what a variable names goes first, then Docker's place, then Podman's.
fn files(environment: &Environment) -> Vec<PathBuf> {
    let named = environment.get(env_vars::REGISTRY_AUTH_FILE).map(PathBuf::from);
    let docker = docker_directory(environment).map(|directory| directory.join("config.json"));
    let below = "containers/auth.json";
    let runtime = environment.get(env_vars::XDG_RUNTIME_DIR).map(PathBuf::from);
    let home = environment.home();
    let homes = home.map(|home| home.join(".config").join(below));
    let files = named.into_iter().chain(docker);
    files
        .chain(runtime.map(|runtime| runtime.join(below)))
        .chain(homes)
        .collect()
}
