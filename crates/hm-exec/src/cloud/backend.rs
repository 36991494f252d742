//! [`CloudBackend`]: submits the plan and the source.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use harmont_client::HarmontClient;
use harmont_client::models::{Build, BuildOptions, NewBuild, NewRepoBuild};
use hm_source::{Source, SourceStore};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::answers::backend_error;
use super::archive;
use super::options::build_options;
use super::watch::Watch;
use crate::freeze::freeze;
use crate::{BackendError, BackendHandle, BuildRef, Capabilities, ExecutionBackend, Result, RunRequest};

/// How many events wait for a renderer at most.
pub(super) const CAPACITY: usize = 256;

/// A free agent says of itself within this what a build's header tells; a build that waits longer for one begins without.
const PATIENCE: Duration = Duration::from_secs(2);

/// What stands for branch and commit of a worktree that has none: the API wants a text.
const NO_GIT: &str = "none";

/// Which server's builds these are, and what it takes.
#[derive(Debug, Clone)]
pub struct CloudConfig {
    /// The organization that builds.
    pub org: String,
    /// Where builds are looked at in a browser; a build's page is below it.
    pub app_url: Option<String>,
    /// The most bytes of source that are sent, before compression.
    pub source_cap: u64,
}

/// Runs builds on a server.
#[derive(Debug, Clone)]
pub struct CloudBackend {
    client: HarmontClient,
    config: CloudConfig,
    sources: Arc<SourceStore>,
    patience: Duration,
}

impl CloudBackend {
    /// A backend that submits by `client`, which knows who asks, and freezes worktrees with `sources`.
    #[must_use]
    pub fn new(client: HarmontClient, config: CloudConfig, sources: SourceStore) -> Self {
        Self {
            client,
            config,
            sources: Arc::new(sources),
            patience: PATIENCE,
        }
    }

    /// Holds a build's first events back for so long, unless its agent says earlier which images it has and how many steps
    /// it runs at once: their header tells it then.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    async fn submit(&self, request: &RunRequest, source: Arc<Source>) -> Result<Build> {
        let meta = &request.source;
        let build = NewBuild {
            branch: meta.branch.clone().unwrap_or_else(|| NO_GIT.into()),
            commit: meta.commit.clone().unwrap_or_else(|| NO_GIT.into()),
            message: meta.message.clone(),
            env: request.env.clone(),
            pipeline_ir: Some(request.plan.ir_json.clone()),
            source: Some("hm".into()),
            run_options: BuildOptions {
                tag: meta.tag.clone(),
                ..build_options(&request.options)?
            },
        };
        let archive = Some(in_base64(archive::pieces(source)));
        let (org, pipeline) = (&self.config.org, &request.pipeline_slug);
        let submitted = match (&request.cloud_pipeline_slug, &meta.repo_name) {
            (Some(slug), _) => self.client.submit_build(org, slug, &build, archive).await,
            (None, Some(repo)) => {
                let build = NewRepoBuild {
                    repo_name: repo.clone(),
                    source_slug: pipeline.clone(),
                    build,
                };
                self.client.submit_repo_build(org, &build, archive).await
            }
            (None, None) => {
                return Err(BackendError::NotFound(format!(
                    "the server knows a pipeline by its repository, and this worktree has no remote: name the \
                     pipeline on the server, or add a remote (pipeline `{pipeline}`)"
                )));
            }
        };
        submitted.map_err(backend_error)
    }
}

#[async_trait]
impl ExecutionBackend for CloudBackend {
    fn name(&self) -> &'static str {
        "cloud"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            is_observer: true,
            // As far as the agent allows.
            honors_parallelism: true,
            honors_keep_going: true,
            enforces_timeout: true,
            honors_no_cache: true,
            honors_step_selection: true,
            honors_image_map: true,
            reports_cache_hits: true,
            supports_no_watch: true,
            provides_watch_url: self.config.app_url.is_some(),
            gives_secrets: true,
            ..Capabilities::default()
        }
    }

    async fn start(&self, request: RunRequest) -> Result<BackendHandle> {
        if !request.secrets.is_empty() {
            return Err(BackendError::Rejected {
                code: "secret".into(),
                message: "no secret is sent to a server: the agents of its builds have them".into(),
            });
        }
        let source = Arc::new(freeze(&self.sources, &request).await?);
        archive::check_size(&source, self.config.source_cap)?;
        let build = self.submit(&request, Arc::clone(&source)).await?;
        let id = build.id.ok_or_else(|| {
            BackendError::Other(format!(
                "build {} of {} was submitted, but the server does not stream events: it is no server of hm's",
                build.number, build.pipeline_slug
            ))
        })?;
        let reference = BuildRef {
            run_id: request.run_id,
            number: Some(build.number),
            org: Some(self.config.org.clone()),
            pipeline: build.pipeline_slug.clone(),
        };
        let watch_url = self.config.app_url.as_ref().map(|app| {
            format!(
                "{}/{}/{}/builds/{}",
                app.trim_end_matches('/'),
                self.config.org,
                build.pipeline_slug,
                build.number
            )
        });
        let (sender, events) = mpsc::channel(CAPACITY);
        let cancel = CancellationToken::new();
        let watch = Watch {
            client: self.client.clone(),
            request,
            source,
            reference,
            id,
            watch_url,
            patience: self.patience,
            sender,
            cancel: cancel.clone(),
        };
        Ok(BackendHandle::spawn(events, cancel, tokio::spawn(watch.run())))
    }
}

/// Base64 of bytes that come in pieces of any length: what does not fill a group of three waits for the next piece.
fn in_base64(
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let start = (pieces, BytesMut::new(), false);
    stream::unfold(start, |(mut pieces, mut rest, over)| async move {
        if over {
            return None;
        }
        let item = match pieces.recv().await {
            None => {
                let last = STANDARD.encode(&rest);
                return Some((Ok(last.into()), (pieces, BytesMut::new(), true)));
            }
            Some(Err(error)) => return Some((Err(error), (pieces, rest, true))),
            Some(Ok(piece)) => {
                rest.extend_from_slice(&piece);
                let whole = rest.split_to(rest.len() - rest.len() % 3);
                Ok(STANDARD.encode(&whole).into())
            }
        };
        Some((item, (pieces, rest, false)))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn pieces_of_any_length_are_one_base64_text() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for length in [1, 2, 3, 4, 7, 64, 999, 1_000, 2_000] {
            let (sender, receiver) = mpsc::channel(1);
            let pieces: Vec<Bytes> = bytes.chunks(length).map(Bytes::copy_from_slice).collect();
            let send = async move {
                for piece in pieces {
                    sender.send(Ok(piece)).await.expect("it is taken");
                }
            };
            let (text, ()) = tokio::join!(in_base64(receiver).try_collect::<Vec<_>>(), send);
            let text = text.expect("no error").concat();
            assert_eq!(
                STANDARD.decode(text).expect("base64"),
                bytes,
                "pieces of {length}"
            );
        }
    }
}
