//! Embeds hm-exec: runs the plan in a file on the worktree in the current directory, and prints what it prints.
//!
//! `cargo run -p hm-exec --example embed -- PLAN.json`
#![expect(clippy::print_stdout, reason = "an example tells what it does")]

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures::StreamExt;
use hm_exec::{ExecutionBackend, LocalBackend, Plan, RunOptions, RunRequest, SourceMeta};
use hm_plugin_protocol::events::BuildEvent;
use hm_sandbox::{SandboxBackend, SandboxConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: embed PLAN.json")?;
    let data = tempfile::tempdir()?;
    let machines = SandboxBackend::new(SandboxConfig::new(data.path(), std::env::var("PATH")?))?;
    let backend = LocalBackend::new(NonZeroUsize::MIN, Arc::new(machines), data.path().to_owned());
    let request = RunRequest {
        run_id: uuid::Uuid::new_v4(),
        plan: Plan::parse(std::fs::read_to_string(file)?)?,
        repo_root: std::env::current_dir()?,
        pipeline_slug: "embedded".into(),
        env: [("CI".to_owned(), "true".to_owned())].into(),
        secrets: std::collections::BTreeMap::new(),
        source: SourceMeta::default(),
        options: RunOptions::default(),
        cloud_pipeline_slug: None,
    };
    let (mut events, control) = backend.start(request).await?.into_parts();
    while let Some(event) = events.next().await {
        if let BuildEvent::StepLog { line, .. } = event {
            println!("{line}");
        }
    }
    println!("{:?}", control.wait().await?.status);
    Ok(())
}
