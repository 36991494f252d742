//! A server with agents, and a backend that submits to it: real HTTP on loopback, commands by the in-memory double.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harmont_client::models::NewPipeline;
use harmont_client::{HarmontClient, SourceHosts};
use hm_agent::{Agent, AgentConfig};
use hm_exec::{
    BackendHandle, Capabilities, CloudBackend, CloudConfig, ExecutionBackend, LocalBackend, Result,
    RunRequest,
};
use hm_server::{Server, ServerConfig};
use hm_source::SourceStore;
use hm_vm::testing::MemoryBackend;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const ORG: &str = "acme";
pub const PIPELINE: &str = "ci";

/// How long a busy machine may take until a free agent has begun a build.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a port of its own.
pub struct Cloud {
    pub dirs: TempDir,
    pub base: String,
    pub client: HarmontClient,
    pub address: std::net::SocketAddr,
    /// A session's.
    pub token: String,
    agent_token: String,
    change: fn(&mut ServerConfig),
    stop: CancellationToken,
    served: Option<JoinHandle<()>>,
}

impl Cloud {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server with other settings than usual.
    pub async fn with(change: fn(&mut ServerConfig)) -> Self {
        let dirs = tempfile::tempdir().expect("a directory");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let base = format!("http://{address}");
        let server = open(&dirs, &base, change).await;
        let token = server.login("me@example.com", ORG, None).await.expect("a login");
        let agent_token = server.agent_token(ORG, "a test's").await.expect("a token");
        let (stop, served) = serve(server, listener);
        let client = HarmontClient::with_base_url(token.reveal(), &base);
        let pipeline = NewPipeline {
            name: PIPELINE.into(),
            repository: "https://example.com/acme/app.git".into(),
            default_branch: "main".into(),
            repo_name: Some("acme/app".into()),
            ..NewPipeline::default()
        };
        client.create_pipeline(ORG, &pipeline).await.expect("a pipeline");
        Self {
            token: token.reveal().to_owned(),
            agent_token: agent_token.reveal().to_owned(),
            dirs,
            base,
            client,
            address,
            change,
            stop,
            served: Some(served),
        }
    }

    /// Stops the server and starts it again over the same data, on the same port.
    pub async fn restart(&mut self) {
        self.stop().await;
        let listener = tokio::net::TcpListener::bind(self.address)
            .await
            .expect("the same port");
        let server = open(&self.dirs, &self.base, self.change).await;
        let (stop, served) = serve(server, listener);
        self.stop = stop;
        self.served = Some(served);
    }

    /// The same with other settings.
    pub async fn restart_with(&mut self, change: fn(&mut ServerConfig)) {
        self.change = change;
        self.restart().await;
    }

    pub async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(served) = self.served.take() {
            served.await.expect("no panic");
        }
    }

    /// An agent over machines in memory.
    pub fn agent(&self, name: &str, vm: &MemoryBackend) -> Working {
        self.agent_through(&self.base, name, vm)
    }

    /// An agent that reaches the server by another URL.
    pub fn agent_through(&self, base: &str, name: &str, vm: &MemoryBackend) -> Working {
        self.agent_over(base, name, Arc::new(self.agents_backend(name, vm)))
    }

    /// What an agent runs builds on.
    pub fn agents_backend(&self, name: &str, vm: &MemoryBackend) -> LocalBackend {
        let data_dir = self.dirs.path().join(name);
        let sources = SourceStore::new(data_dir.join("sources")).taking_ignored();
        let slots = NonZeroUsize::new(4).expect("not zero");
        LocalBackend::new(slots, Arc::new(vm.clone()), data_dir)
            .capping_parallelism()
            .with_sources(sources)
    }

    /// An agent that runs builds on this backend.
    pub fn agent_over(&self, base: &str, name: &str, backend: Arc<dyn ExecutionBackend>) -> Working {
        self.agent_of(base, name, backend, &[])
    }

    /// An agent that fetches sources from these hosts, too.
    pub fn agent_fetching(&self, name: &str, backend: Arc<dyn ExecutionBackend>, hosts: &[&str]) -> Working {
        self.agent_of(&self.base, name, backend, hosts)
    }

    fn agent_of(
        &self,
        base: &str,
        name: &str,
        backend: Arc<dyn ExecutionBackend>,
        hosts: &[&str],
    ) -> Working {
        let data_dir = self.dirs.path().join(name);
        let config = AgentConfig {
            name: name.to_owned(),
            labels: std::iter::empty().collect(),
            concurrency: NonZeroUsize::new(2).expect("not zero"),
            data_dir,
        };
        let client = HarmontClient::with_base_url(self.agent_token.clone(), base);
        let agent =
            Agent::new(client, config, backend).with_source_hosts(SourceHosts::new(hosts.iter().copied()));
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let task = tokio::spawn({
            let (drain, stop) = (drain.clone(), stop.clone());
            async move { agent.run(drain, stop).await.expect("it works") }
        });
        Working { drain, stop, task }
    }

    /// What submits to it.
    pub fn backend(&self) -> Submitting {
        let config = CloudConfig {
            org: ORG.into(),
            app_url: Some("https://ci.example".into()),
            source_cap: 1 << 20,
        };
        let sources = SourceStore::new(self.dirs.path().join("submitting"));
        let backend = CloudBackend::new(self.client.clone(), config, sources);
        Submitting(backend.with_patience(PATIENCE))
    }

    /// An empty worktree.
    pub fn worktree(&self, name: &str) -> PathBuf {
        let worktree = self.dirs.path().join("worktrees").join(name);
        std::fs::create_dir_all(&worktree).expect("a directory");
        worktree
    }
}

async fn open(dirs: &TempDir, base: &str, change: fn(&mut ServerConfig)) -> Server {
    let mut config = ServerConfig::new(dirs.path().join("server"), base);
    config.agents.lease = Duration::from_secs(3);
    config.agents.sweep = Duration::from_millis(100);
    change(&mut config);
    Server::open(config).await.expect("a server")
}

fn serve(server: Server, listener: tokio::net::TcpListener) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let told = stop.clone();
    let served = tokio::spawn(async move { server.serve(listener, told).await.expect("it serves") });
    (stop, served)
}

/// An agent at work.
pub struct Working {
    pub drain: CancellationToken,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

impl Working {
    /// As `kill -9` would: from one moment to the next it says nothing more.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Ends it when it has ended what it runs.
    pub async fn drain(self) {
        self.drain.cancel();
        self.task.await.expect("no panic");
    }
}

/// The backend, with the pipeline's name on the server in every request.
pub struct Submitting(pub CloudBackend);

#[async_trait]
impl ExecutionBackend for Submitting {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn start(&self, mut request: RunRequest) -> Result<BackendHandle> {
        request.cloud_pipeline_slug = Some(PIPELINE.into());
        self.0.start(request).await
    }
}
