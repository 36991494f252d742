//! A server process and agents, in a directory that goes with them.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures::stream;
use harmont_client::HarmontClient;
use harmont_client::models::{Build, NewBuild, NewPipeline};
use hm_exec::testing::PlanWriter;

pub const ORG: &str = "team";
pub const PIPELINE: &str = "ci";

/// So many that the server's limits of requests by one token are not what is measured.
const TOKENS: usize = 20;

/// A process that is killed where the benchmark fails.
pub struct Running(Child);

/// A server that listens, and where it keeps its data.
pub struct Place {
    dir: tempfile::TempDir,
    pub url: String,
    /// A client for each token.
    pub clients: Vec<HarmontClient>,
    agent_token: String,
    server: Running,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Ends it as a service is ended.
    pub fn end(mut self) -> Result<(), Box<dyn Error>> {
        let pid = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let ended = self.0.wait()?;
        if ended.success() {
            return Ok(());
        }
        Err(format!("a process of hm ended with {ended}").into())
    }
}

fn hm(dir: &Path, args: &[&str]) -> Command {
    // Another build of hm, to compare with.
    let other = std::env::args_os()
        .skip(1)
        .find(|argument| Path::new(argument).is_file());
    let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_hm").into()));
    command
        .args(args)
        .current_dir(dir)
        .env("HOME", dir)
        .env("HM_DATA_DIR", dir.join("data"))
        .stdin(Stdio::null());
    command
}

fn said(mut command: Command) -> Result<String, Box<dyn Error>> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?.trim().to_owned());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

impl Place {
    pub fn start() -> Result<Self, Box<dyn Error>> {
        let dir = tempfile::Builder::new().prefix("hm-bench-").tempdir()?;
        let at = dir.path();
        let mut logins = Vec::new();
        for _ in 0..TOKENS {
            let args = [
                "server",
                "--data",
                "server",
                "token",
                "--email",
                "me@example.org",
                "--org",
                ORG,
            ];
            logins.push(said(hm(at, &args))?);
        }
        let agent_token = said(hm(
            at,
            &["server", "--data", "server", "token", "--agent", "--org", ORG],
        ))?;
        let mut child = hm(at, &["server", "--data", "server", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut url = String::new();
        BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut url)?;
        let server = Running(child);
        let url = url.trim().to_owned();
        let clients = logins
            .into_iter()
            .map(|login| HarmontClient::with_base_url(login, &url));
        Ok(Self {
            clients: clients.collect(),
            dir,
            url,
            agent_token,
            server,
        })
    }

    /// Any of them.
    pub fn client(&self) -> &HarmontClient {
        &self.clients[0]
    }

    /// The agents' side of the API, for the benchmark itself.
    pub fn agents_client(&self) -> HarmontClient {
        HarmontClient::with_base_url(self.agent_token.clone(), &self.url)
    }

    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    pub async fn create_pipeline(&self) -> Result<(), Box<dyn Error>> {
        let pipeline = NewPipeline {
            name: PIPELINE.into(),
            repository: "https://example.com/app.git".into(),
            default_branch: "main".into(),
            ..NewPipeline::default()
        };
        self.client().create_pipeline(ORG, &pipeline).await?;
        Ok(())
    }

    /// An agent process.
    pub fn agent(&self, labels: &str) -> Result<Running, Box<dyn Error>> {
        let args = [
            "agent", "--server", &self.url, "--name", labels, "--labels", labels,
        ];
        let child = hm(self.dir.path(), &args)
            .env("HM_AGENT_TOKEN", &self.agent_token)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Running(child))
    }

    /// A figure of the server's memory, in MiB.
    pub fn memory(&self, name: &str) -> Result<f64, Box<dyn Error>> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.0.id()))?;
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(kib.ok_or("no such figure")?.parse::<f64>()? / 1024.0)
    }

    pub fn end(self) -> Result<(), Box<dyn Error>> {
        self.server.end()
    }
}

/// Submits a build without a source.
pub async fn submit(
    client: &HarmontClient,
    plan: &PlanWriter,
) -> Result<Build, harmont_client::HarmontError> {
    let new = NewBuild {
        branch: "main".into(),
        commit: "none".into(),
        pipeline_ir: Some(plan.json()),
        ..NewBuild::default()
    };
    let nothing = None::<stream::Empty<_>>;
    client.submit_build(ORG, PIPELINE, &new, nothing).await
}
