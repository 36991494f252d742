//! How much of the disk a command may write.

use std::time::Duration;

use bollard::Docker;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures::StreamExt;

use super::container::Container;
use super::shared::Shared;
use hm_vm::ExecRequest;

/// How often a container's size is asked for: the engine walks all that was written.
const EVERY: Duration = Duration::from_millis(500);

/// Resolves, with why, when a container has written more than it may.
pub(super) async fn watch(shared: &Shared, container: &Container, request: &ExecRequest) -> String {
    let (Some(limit), Ok(docker)) = (request.limits.disk, shared.docker().await) else {
        return std::future::pending().await;
    };
    let caches: Vec<&str> = container.caches().collect();
    let mut before = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let sized = shared
            .ask(&format!("/containers/{}/json?size=1", container.id))
            .await;
        let Ok(Some(sized)) = sized else { continue };
        let mut written = sized["SizeRw"].as_u64().unwrap_or(0);
        if !caches.is_empty()
            && let Some(now) = measure(docker, &container.id, &caches).await
        {
            // They begin as copies of what was there.
            written += now.saturating_sub(*before.get_or_insert(now));
        }
        if written > limit {
            return format!("stopped: it had written {written} bytes, its disk limit is {limit}");
        }
    }
}

/// How many bytes lie in directories of a container that runs. An image without `du` does not say.
async fn measure(docker: &Docker, container: &str, directories: &[&str]) -> Option<u64> {
    let mut cmd = vec!["du".to_owned(), "-sk".into()];
    cmd.extend(directories.iter().map(ToString::to_string));
    let config = ExecConfig {
        cmd: Some(cmd),
        attach_stdout: Some(true),
        user: Some("0:0".into()),
        ..ExecConfig::default()
    };
    let exec = docker.create_exec(container, config).await.ok()?.id;
    let started = docker.start_exec(&exec, None::<StartExecOptions>).await.ok()?;
    let StartExecResults::Attached { mut output, .. } = started else {
        return None;
    };
    let mut text = Vec::new();
    while let Some(Ok(piece)) = output.next().await {
        text.extend_from_slice(&piece.into_bytes());
    }
    let text = String::from_utf8_lossy(&text);
    let sizes = text
        .lines()
        .map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    sizes
        .sum::<Option<u64>>()
        .filter(|kibibytes| *kibibytes > 0)
        .map(|kibibytes| kibibytes * 1024)
}
