//! A real step, in a store of its own on the data directory's file system.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::super::SandboxBackend;
use crate::surface::SandboxConfig;
use hm_source::Source;
use hm_vm::{Cancel, ExecRequest, ImageReference, Limits, OutputChunk, Result, VmBackend, VmError};

/// Longer than the slowest machine takes: a step that hangs is told as such.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many steps are timed.
const REPEATED: usize = 5;

/// What the step says: its interfaces, one a line.
const COMMAND: &str = "ls /sys/class/net 2>/dev/null || tail -n +3 /proc/net/dev | cut -d: -f1";

/// How it went.
#[derive(Debug, Clone)]
pub(super) enum Trial {
    Ran {
        /// How long the quickest of some more steps took: the first one waits for the supervisor and the network.
        took: Duration,
        /// Whether it had an interface beside its own localhost.
        has_network: bool,
        /// What it was told about its limits.
        notes: Vec<String>,
    },
    Failed(String),
}

/// Removes the trial's store.
struct Store(PathBuf);

impl Drop for Store {
    fn drop(&mut self) {
        // What cannot be removed is empty but for directories of the kernel's; the next trial has another name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Trial {
    pub(super) fn run(config: &SandboxConfig) -> Self {
        let store = Store(
            config
                .data_dir
                .join(format!("sandbox/.doctor-{}", uuid::Uuid::new_v4().simple())),
        );
        let config = SandboxConfig {
            data_dir: store.0.clone(),
            // Whether the disk is nearly full is a finding of its own.
            min_free: 0,
            ..config.clone()
        };
        // A thread of its own: the caller may be in a runtime already.
        let tried = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(VmError::io("cannot start a runtime for", &config.data_dir))?;
            runtime.block_on(async {
                tokio::time::timeout(PATIENCE, steps(config))
                    .await
                    .unwrap_or_else(|_| Err(VmError::Setup("a step of `true` did not end".into())))
            })
        });
        match tried.join() {
            Ok(Ok(trial)) => trial,
            Ok(Err(error)) => Self::Failed(error.to_string()),
            Err(_) => Self::Failed("the trial itself failed".into()),
        }
    }
}

async fn steps(config: SandboxConfig) -> Result<Trial> {
    std::fs::create_dir_all(&config.data_dir).map_err(VmError::io("cannot create", &config.data_dir))?;
    let data_dir = config.data_dir.clone();
    let backend = SandboxBackend::new(config)?;
    let trial = some_steps(&backend, &data_dir).await;
    backend.reclaim().await?;
    backend.shutdown().await;
    trial
}

async fn some_steps(backend: &SandboxBackend, data_dir: &Path) -> Result<Trial> {
    let mut request = ExecRequest::shell(COMMAND);
    request.limits = Limits {
        memory: Some(256 << 20),
        cpus: Some(1.0),
        pids: Some(64),
        disk: None,
    };
    let (said, notes) = step(backend, &request).await?;
    if said.is_empty() {
        return Err(VmError::Setup(format!(
            "a step in {} said nothing",
            data_dir.display()
        )));
    }
    let mut took = Duration::MAX;
    for _ in 0..REPEATED {
        let begun = Instant::now();
        step(backend, &ExecRequest::shell("true")).await?;
        took = took.min(begun.elapsed());
    }
    Ok(Trial::Ran {
        took,
        has_network: said.lines().any(|interface| interface.trim() != "lo"),
        notes,
    })
}

async fn step(backend: &SandboxBackend, request: &ExecRequest) -> Result<(String, Vec<String>)> {
    let image = backend
        .resolve(&ImageReference::new(ImageReference::HOST))
        .await?;
    let mut vm = backend.create(&image).await?;
    vm.inject(Arc::new(Source::empty())).await?;
    let (sender, mut chunks) = mpsc::channel::<OutputChunk>(4);
    let mut said = Vec::new();
    let read = async {
        while let Some(chunk) = chunks.recv().await {
            said.extend_from_slice(&chunk.bytes);
        }
    };
    let (outcome, ()) = tokio::join!(vm.exec(request, sender, Cancel::new()), read);
    vm.destroy().await?;
    let outcome = outcome?;
    let said = String::from_utf8_lossy(&said).into_owned();
    match outcome.status.code() {
        0 => Ok((said, outcome.notes)),
        code => Err(VmError::Setup(format!(
            "a step of `{}` ended with {code}: {}",
            request.argv.last().map_or("", String::as_str),
            said.trim()
        ))),
    }
}
