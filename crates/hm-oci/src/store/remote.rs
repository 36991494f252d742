//! Asking registries.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder, Retryable};
use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use secrecy::ExposeSecret;

use super::failure::Failure;
use super::name::{Name, Place};
use super::{Credentials, ImageSettings};

/// Of manifests: what is longer is none.
pub(super) const LONGEST_MANIFEST: usize = 8 << 20;

const KINDS: &[&str] = &[
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A registry that was found, and who we are to it.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub place: Place,
    pub client: Client,
    auth: RegistryAuth,
}

/// The registries of one store. Connections and tokens are kept.
#[derive(Default)]
pub(super) struct Remotes {
    clients: Mutex<HashMap<(String, bool), (Client, RegistryAuth)>>,
    /// Who could not be reached, and when.
    away: Mutex<HashMap<String, Instant>>,
}

/// For how long who could not be reached is asked after all others.
const AWAY: Duration = Duration::from_secs(120);

impl Remotes {
    /// Where to ask for an image, in order.
    pub(super) fn endpoints(&self, name: &Name, settings: &ImageSettings) -> Vec<Endpoint> {
        let mut places = name.places(settings);
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner).clone();
        places.sort_by_key(|place| away.get(&place.host).is_some_and(|since| since.elapsed() < AWAY));
        places
            .into_iter()
            .map(|place| {
                let (client, auth) = self.client(&place, settings);
                Endpoint { place, client, auth }
            })
            .collect()
    }

    /// Notes that a registry could not be reached.
    pub(super) fn note_away(&self, host: &str) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.insert(host.to_owned(), Instant::now());
    }

    fn client(&self, place: &Place, settings: &ImageSettings) -> (Client, RegistryAuth) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let client = Client::new(ClientConfig {
                protocol: if place.plain_http {
                    ClientProtocol::Http
                } else {
                    ClientProtocol::Https
                },
                connect_timeout: Some(Duration::from_secs(10)),
                read_timeout: Some(Duration::from_secs(60)),
                user_agent: concat!("hm/", env!("CARGO_PKG_VERSION")),
                ..ClientConfig::default()
            });
            // Who has a login for Docker Hub has it under its name.
            let registry = place.reference.registry();
            let found = settings
                .credentials
                .as_ref()
                .and_then(|source| source.credentials(registry));
            let auth = match found {
                None => RegistryAuth::Anonymous,
                Some(Credentials::Basic { username, password }) => {
                    RegistryAuth::Basic(username, password.expose_secret().to_owned())
                }
                Some(Credentials::Bearer(token)) => RegistryAuth::Bearer(token.expose_secret().to_owned()),
            };
            (client, auth)
        };
        clients
            .entry((place.host.clone(), place.plain_http))
            .or_insert_with(make)
            .clone()
    }
}

impl std::fmt::Debug for Remotes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remotes")
    }
}

/// The pauses between tries.
pub(super) fn pauses(retries: usize) -> ExponentialBackoff {
    patience(retries).build()
}

fn patience(retries: usize) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(15))
        .with_max_times(retries)
        .with_jitter()
}

impl Endpoint {
    /// Readies it for requests that do not say who asks.
    pub(super) async fn introduce(&self) {
        let registry = self.place.reference.resolve_registry();
        self.client.store_auth_if_needed(registry, &self.auth).await;
    }

    /// What a tag stands for now: one small request.
    pub(super) async fn head(&self, retries: usize) -> Result<String, Failure> {
        let ask = || async {
            let asked = self
                .client
                .fetch_manifest_digest(&self.place.reference, &self.auth);
            asked.await.map_err(Failure::from)
        };
        ask.retry(patience(retries)).when(Failure::is_for_now).await
    }

    /// A manifest by its digest, or by the tag when none is given; and its digest.
    pub(super) async fn manifest(
        &self,
        digest: Option<&str>,
        retries: usize,
    ) -> Result<(Vec<u8>, String), Failure> {
        let reference = match digest {
            Some(digest) => self.place.reference.clone_with_digest(digest.to_owned()),
            None => self.place.reference.clone(),
        };
        let ask = || async {
            let asked = self.client.pull_manifest_raw(&reference, &self.auth, KINDS);
            asked.await.map_err(Failure::from)
        };
        let (bytes, found) = ask.retry(patience(retries)).when(Failure::is_for_now).await?;
        if bytes.len() > LONGEST_MANIFEST {
            return Err(Failure::Unusable("its manifest is too long".into()));
        }
        if digest.is_some_and(|digest| digest != found) {
            return Err(Failure::Unusable(
                "its manifest is not what its digest says".into(),
            ));
        }
        Ok((bytes.to_vec(), found))
    }
}
