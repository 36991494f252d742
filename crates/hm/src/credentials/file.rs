//! Docker's `config.json` and Podman's `auth.json`, which are of one form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use hm_oci::Credentials;
use secrecy::SecretString;
use serde::Deserialize;

use super::canonical;

/// One of these files, as far as it is about registries and engines.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AuthFile {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    /// The context that Docker's own client uses.
    #[serde(rename = "currentContext")]
    pub context: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<SecretString>,
    #[serde(rename = "registrytoken")]
    registry_token: Option<SecretString>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry(…)")
    }
}

impl AuthFile {
    /// Reads one; `None` where there is none.
    ///
    /// # Errors
    /// Words that name the file, and nothing of what is in it.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        // The parser's own words may quote a value.
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            format!(
                "{} is not what Docker or Podman write there (line {}, column {})",
                path.display(),
                error.line(),
                error.column()
            )
        })
    }

    /// The helper that knows about a registry, and whether it was named for that very one.
    pub fn helper(&self, registry: &str) -> Option<&str> {
        let named = self.helpers.iter().find(|(name, _)| same(name, registry));
        let helper = named.map(|(_, helper)| helper).or(self.store.as_ref());
        helper.map(String::as_str).filter(|helper| !helper.is_empty())
    }

    /// What the file itself says about a registry.
    ///
    /// # Errors
    /// Words that say what is wrong with it, and nothing of the secret.
    pub fn credentials(&self, registry: &str) -> Result<Option<Credentials>, String> {
        let found = self.auths.iter().find(|(name, _)| same(name, registry));
        let Some((name, entry)) = found else {
            return Ok(None);
        };
        entry
            .credentials()
            .map_err(|wrong| format!("`auths` has for `{name}` {wrong}"))
    }

    /// The registries that it says something about, and the helper for all others.
    pub fn names(&self) -> (Vec<String>, Option<&str>) {
        let stored = self.auths.iter().filter(|(_, entry)| !entry.is_empty());
        let stored = stored.map(|(name, _)| canonical(name).to_owned());
        let helped = self
            .helpers
            .iter()
            .map(|(name, helper)| format!("{} (docker-credential-{helper})", canonical(name)));
        (stored.chain(helped).collect(), self.store.as_deref())
    }
}

fn same(name: &str, registry: &str) -> bool {
    canonical(name) == canonical(registry)
}

impl Entry {
    const fn is_empty(&self) -> bool {
        self.auth.is_none()
            && self.password.is_none()
            && self.identity_token.is_none()
            && self.registry_token.is_none()
    }

    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        use secrecy::ExposeSecret;

        let filled = |secret: &Option<SecretString>| {
            secret.clone().filter(|secret| !secret.expose_secret().is_empty())
        };
        if let Some(token) = filled(&self.registry_token) {
            return Ok(Some(Credentials::Bearer(token)));
        }
        if let Some(token) = filled(&self.identity_token) {
            return Ok(Some(super::helper::identity(token)));
        }
        if let (Some(username), Some(password)) = (&self.username, filled(&self.password)) {
            return Ok(Some(Credentials::Basic {
                username: username.clone(),
                password,
            }));
        }
        let Some(auth) = filled(&self.auth) else {
            return Ok(None);
        };
        let wrong = "an `auth` that is not base64 of NAME:PASSWORD; log in again with `docker login`";
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(auth.expose_secret().trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(SecretString::from)
            .ok_or(wrong)?;
        let (username, password) = decoded.expose_secret().split_once(':').ok_or(wrong)?;
        Ok(Some(Credentials::Basic {
            username: username.to_owned(),
            // Docker of old filled it up.
            password: password.trim_end_matches('\0').into(),
        }))
    }
}

/// The directory of Docker's own configuration.
pub fn docker_directory(environment: &crate::environment::Environment) -> Option<PathBuf> {
    let set = environment.get(crate::env_vars::DOCKER_CONFIG).map(PathBuf::from);
    set.or_else(|| environment.home().map(|home| home.join(".docker")))
}
