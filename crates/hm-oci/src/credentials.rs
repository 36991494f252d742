//! Who a registry takes us for. This crate reads no credentials: its caller does.

use std::fmt::Debug;

use secrecy::SecretString;

/// What a registry is shown. Its values are in no `Debug` output and in no error.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A name and a password.
    Basic {
        /// The user's name.
        username: String,
        /// The password, or an access token that stands in for it.
        password: SecretString,
    },
    /// A token that is sent as it is.
    Bearer(SecretString),
}

/// Finds credentials. Asked once per registry, when that registry is first asked for something.
pub trait CredentialSource: Send + Sync + Debug {
    /// What is known for a registry (`docker.io`, `localhost:5000`); `None`: it is asked without a name.
    fn credentials(&self, registry: &str) -> Option<Credentials>;
}
