//! The server as a whole.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use axum::Router;
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;

use crate::blobs::{BlobError, DirectoryBlobs};
use crate::build::Fault;
use crate::config::ServerConfig;
use crate::logs::FileLogBus;
use crate::model::{NewOrganization, NewToken, NewUser, Role, TokenKind};
use crate::parsing::Parsing;
use crate::queue::SqliteQueue;
use crate::rates::RateLimits;
use crate::secret::{NoRandomness, Secret};
use crate::signing::{Signer, SigningError};
use crate::state::{Agents, App, Clock, LiveBuilds};
use crate::store::{Database, SqliteStore, StoreError};
use crate::{OrgId, api, connections, dashboard};

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Its data directory cannot be made.
    #[error("the data directory {} cannot be made: {source}", path.display())]
    Data {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its blobs cannot be kept.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// It has no signing key.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// There is no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// What an earlier run left cannot be put right.
    #[error("what an earlier run left cannot be put right")]
    Recovery(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It cannot listen any more.
    #[error("the server cannot go on listening: {0}")]
    Listen(#[source] io::Error),
    /// It stands in URLs.
    #[error(
        "an organization cannot be called `{0}`: take lower-case letters, digits and dashes, and no word of the server's own paths such as `api`"
    )]
    OrganizationName(String),
    /// There is no such organization.
    #[error("there is no organization `{0}`")]
    NoOrganization(String),
}

impl From<Fault> for ServerError {
    fn from(error: Fault) -> Self {
        Self::Recovery(Box::new(error))
    }
}

/// A server over its data directory. One process has one.
pub struct Server {
    app: Arc<App>,
    database: Database,
}

impl Server {
    /// Opens the data directory, makes what is missing there, and puts right what a crash left.
    ///
    /// # Errors
    /// When the directory cannot be used, or was written by a newer version.
    pub async fn open(config: ServerConfig) -> Result<Self, ServerError> {
        let data = config.data.clone();
        make_private(&data).map_err(|source| ServerError::Data {
            path: data.clone(),
            source,
        })?;
        let database = Database::open(&data.join(DATABASE)).await?;
        let app = App {
            store: Arc::new(SqliteStore::new(database.clone())),
            queue: Arc::new(SqliteQueue::new(database.clone())),
            logs: Arc::new(FileLogBus::new(data.join("logs"))),
            blobs: Arc::new(DirectoryBlobs::open(&data.join("blobs"))?),
            signer: Signer::open(&data.join("signing.key"))?,
            rates: RateLimits::new(&config.rates),
            live: LiveBuilds::default(),
            parsing: Parsing::default(),
            agents: Agents::default(),
            clock: Clock::start(),
            stopping: CancellationToken::new(),
            document: OnceLock::new(),
            config,
        };
        app.recover().await?;
        Ok(Self {
            app: Arc::new(app),
            database,
        })
    }

    /// The routes. They need the peer's address as connect info to limit rates by it.
    pub fn router(&self) -> Router {
        api::router(&self.app, dashboard::router(&self.app))
    }

    /// The OpenAPI document of the routes.
    #[must_use]
    pub fn document(&self) -> OpenApi {
        api::document(&self.app)
    }

    /// Serves until it is told to stop; requests under way are finished, streams and polls ended.
    ///
    /// # Errors
    /// When it cannot listen any more.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> Result<(), ServerError> {
        let stopping = &self.app.stopping;
        let (patience, routes) = (self.app.config.patience, self.router());
        let (served, (), (), ()) = tokio::join!(
            async {
                let served = connections::serve(listener, routes, patience, stopping.clone()).await;
                stopping.cancel();
                served
            },
            async {
                tokio::select! {
                    () = stop.cancelled() => stopping.cancel(),
                    () = stopping.cancelled() => {}
                }
            },
            self.app.keep_sweeping(),
            self.app.keep_retaining()
        );
        self.database.close().await;
        served.map_err(ServerError::Listen)
    }

    /// A session of the owner of an organization. Person and organization are made where they are missing: this is how
    /// the first one comes in.
    ///
    /// # Errors
    /// When the store fails, or there is no randomness.
    pub async fn login(
        &self,
        email: &str,
        org: &str,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Secret, ServerError> {
        let (store, now) = (&self.app.store, Utc::now());
        let is_new = store.organization(org).await?.is_none();
        if is_new && !api::names_organization(org) {
            return Err(ServerError::OrganizationName(org.to_owned()));
        }
        let user = match store.user_by_email(email).await? {
            Some(user) => user,
            None => {
                let new = NewUser {
                    email: email.to_owned(),
                    name: None,
                    personal_org: Some(org.to_owned()),
                };
                store.create_user(new, now).await?
            }
        };
        if is_new {
            let new = NewOrganization {
                slug: org.to_owned(),
                name: org.to_owned(),
                url: None,
                owner: user.id,
            };
            store.create_organization(new, now).await?;
        }
        let secret = Secret::new(TokenKind::Session.as_str())?;
        let token = NewToken {
            kind: TokenKind::Session,
            user: Some(user.id),
            org: None,
            cap: Role::Owner,
            description: None,
            expires_at,
            bound: None,
            made_with: None,
            hash: secret.hash(),
        };
        store.create_token(token, now).await?;
        Ok(secret)
    }

    /// Takes every agent for lost that has said nothing until its lease ends before this moment, as
    /// [`Server::serve`] does now and then.
    ///
    /// # Errors
    /// When the server's state cannot be read or changed.
    #[cfg(feature = "testing")]
    pub async fn lose_agents(&self, now: DateTime<Utc>) -> Result<(), ServerError> {
        Ok(self.app.sweep(now).await?)
    }

    /// Removes what at this moment is kept no longer, as [`Server::serve`] does now and then.
    ///
    /// # Errors
    /// When the server's state cannot be read or changed.
    #[cfg(feature = "testing")]
    pub async fn retain(&self, now: DateTime<Utc>) -> Result<(), ServerError> {
        Ok(self.app.retain(now).await?)
    }

    /// A new token for agents of an organization.
    ///
    /// # Errors
    /// When there is no such organization, the store fails, or there is no randomness.
    pub async fn agent_token(&self, org: &str, description: &str) -> Result<Secret, ServerError> {
        let found = self.app.store.organization(org).await?;
        let id: OrgId = found
            .ok_or_else(|| ServerError::NoOrganization(org.to_owned()))?
            .id;
        let secret = Secret::new(TokenKind::Agent.as_str())?;
        let token = NewToken {
            kind: TokenKind::Agent,
            user: None,
            org: Some(id),
            cap: Role::Read,
            description: Some(description.to_owned()),
            expires_at: None,
            bound: None,
            made_with: None,
            hash: secret.hash(),
        };
        self.app.store.create_token(token, Utc::now()).await?;
        Ok(secret)
    }
}

/// What is kept there is its owner's alone, whoever made the directory.
fn make_private(path: &std::path::Path) -> io::Result<()> {
    hm_fs::create_private(path)?;
    hm_fs::close_entries(path, ENTRIES);
    // SQLite gives its other files the mode of this one.
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path.join(DATABASE)).map(drop)
}

const DATABASE: &str = "hm.sqlite";

/// What a server's directory has.
const ENTRIES: &[&str] = &[
    DATABASE,
    "hm.sqlite-wal",
    "hm.sqlite-shm",
    "agent",
    "blobs",
    "lock",
    "logs",
    "signing.key",
];
