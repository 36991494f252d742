//! What `hm run` hands a build to: the machines here, or a server.

use hm_exec::{CloudBackend, CloudConfig, ExecutionBackend, RunRequest};

use super::{Machines, sources};
use crate::choices::BackendChoice;
use crate::cloud::{Session, cloud_pipeline};
use crate::config::{Config, Layers, Origin};
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::repository;
use crate::show::Notes;
use crate::stats::Stats;

/// What a build is handed to.
#[derive(Debug)]
pub enum Runner {
    /// The machines here.
    Here(Machines),
    /// A server, as somebody.
    There(Session),
}

impl Runner {
    /// The one that the configuration asks for.
    ///
    /// # Errors
    /// When this machine cannot have the machines, or nobody is logged in to a server.
    pub fn new(context: &Context, config: &Config) -> Result<Self> {
        if config.backend == Some(BackendChoice::Cloud) {
            return Session::open(context, config).map(Self::There);
        }
        for key in ["cloud.org", "cloud.pipeline"] {
            if let Some((_, Origin::Flag(flag))) = context.layers.get(key) {
                return Err(Failure::plain_usage(format!("{flag} is for `--backend cloud`")));
            }
        }
        let machines = Machines::new(context, config)?;
        machines.say_why(context);
        Ok(Self::Here(machines))
    }

    /// The backend for one build. On a server its pipeline is found first, or made.
    ///
    /// # Errors
    /// When the server cannot be asked, or the build is none that it could run.
    pub async fn backend(
        &self,
        context: &Context,
        config: &Config,
        request: &mut RunRequest,
    ) -> Result<Box<dyn ExecutionBackend>> {
        let session = match self {
            Self::Here(machines) => return Ok(machines.backend(context, config)),
            Self::There(session) => session,
        };
        refuse_what_is_of_here(&context.layers)?;
        let org = session.org().await?;
        let source = &mut request.source;
        if let (Some(commit), None) = (&source.commit, &source.message) {
            source.message = repository::commit_message(&request.repo_root, commit).await;
        }
        request.cloud_pipeline_slug = Some(cloud_pipeline(context, config, session, &org, request).await?);
        let cloud = CloudConfig {
            org,
            app_url: Some(session.app_url.clone()),
            source_cap: config.cloud.max_source,
        };
        let backend = CloudBackend::new(session.client.clone(), cloud, sources(context, config));
        Ok(Box::new(backend))
    }

    /// The server that it is handed to.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        match self {
            Self::Here(_) => None,
            Self::There(session) => Some(&session.server),
        }
    }

    /// Says through `notes` which images are fetched here.
    pub fn speak_through(&self, notes: &Notes) {
        if let Self::Here(machines) = self {
            machines.speak_through(notes);
        }
    }

    /// Adds what was counted here.
    pub fn count(&self, stats: &mut Stats) {
        if let Self::Here(machines) = self {
            machines.count(stats);
        }
    }

    /// Ends what the machines keep running between builds.
    pub async fn shutdown(&self) {
        if let Self::Here(machines) = self {
            machines.vm().shutdown().await;
        }
    }
}

/// A flag about this machine means nothing to a server's.
fn refuse_what_is_of_here(layers: &Layers) -> Result<()> {
    for (key, hint) in [
        (
            "image.pull",
            "an agent asks registries as its own configuration says, under `image.pull`",
        ),
        (
            "image.platform",
            "an agent runs the images of its own machine: run this on one that is of the platform",
        ),
        (
            "sandbox.nested",
            "an agent lets steps make user namespaces where its own configuration says so, under `sandbox.nested`",
        ),
    ] {
        if let Some((_, Origin::Flag(flag))) = layers.get(key) {
            return Err(Failure::usage(
                format!("the backend cloud cannot honour {flag}"),
                [hint],
            ));
        }
    }
    Ok(())
}
