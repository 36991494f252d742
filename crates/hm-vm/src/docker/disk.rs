//! How much of the disk a command may write.

use std::time::Duration;

use bollard::query_parameters::InspectContainerOptions;

use super::shared::Shared;

/// How often a container's size is asked for: the engine walks all that was written.
const EVERY: Duration = Duration::from_millis(500);

/// Resolves, with why, when a container has written more than it may.
pub(super) async fn watch(shared: &Shared, container: &str, limit: Option<u64>) -> String {
    let (Some(limit), Ok(docker)) = (limit, shared.docker().await) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(EVERY).await;
        let options = InspectContainerOptions { size: true };
        let Ok(inspected) = docker.inspect_container(container, Some(options)).await else {
            continue;
        };
        let written = inspected.size_rw.and_then(|bytes| u64::try_from(bytes).ok());
        if let Some(written) = written.filter(|written| *written > limit) {
            return format!("stopped: it had written {written} bytes, its disk limit is {limit}");
        }
    }
}
