//! Pods: a container that does nothing but own a network, which the containers of the pod's machines join.

use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::container::no_log;
use super::engine::failed;
use super::labels::POD;
use super::pod::{Holder, Pod};
use super::shared::Shared;
use hm_vm::{Network, PodId, PodRequest, Result, VmError};

const TRIES: usize = 100;
const AGAIN: Duration = Duration::from_millis(50);

pub(super) fn open(shared: &Shared, request: &PodRequest) -> PodId {
    let id = PodId(Uuid::now_v7().simple().to_string());
    let pod = Pod {
        request: request.clone(),
        holder: Mutex::new(Holder::None),
    };
    shared.pods().insert(id.clone(), Arc::new(pod));
    id
}

pub(super) async fn close(shared: &Shared, id: &PodId) -> Result<()> {
    let Some(pod) = shared.pods().get(id).cloned() else {
        return Ok(());
    };
    let mut holder = pod.holder.lock().await;
    if let Holder::Made(container) = &*holder {
        remove(shared, container).await?;
    }
    *holder = Holder::Closed;
    shared.pods().remove(id);
    Ok(())
}

/// Removes a pod's container. Podman refuses that while those of its machines are still on their way out.
async fn remove(shared: &Shared, container: &str) -> Result<()> {
    for _ in 0..TRIES {
        match shared.remove_container(container).await {
            Err(error) if error.to_string().contains("dependent containers") => {
                tokio::time::sleep(AGAIN).await;
            }
            removed => return removed,
        }
    }
    shared.remove_container(container).await
}

/// The container that owns a pod's network. Once it is begun it is made, and the pod knows it, whoever still waits.
pub(super) async fn holder(shared: &Arc<Shared>, id: &PodId, image: &str) -> Result<String> {
    let (own, id, image) = (shared.clone(), id.clone(), image.to_owned());
    let made = async move { made(&own, &id, image).await };
    shared.to_its_end(made).await
}

async fn made(shared: &Shared, id: &PodId, image: String) -> Result<String> {
    let closed = || VmError::Other(format!("the pod {} is closed", id.0));
    let pod = shared.pods().get(id).cloned().ok_or_else(closed)?;
    let mut holder = pod.holder.lock().await;
    match &*holder {
        Holder::Made(container) => return Ok(container.clone()),
        Holder::Closed => return Err(closed()),
        Holder::None => {}
    }
    let docker = shared.docker().await?;
    let host_config = HostConfig {
        network_mode: (pod.request.network == Network::None).then(|| "none".to_owned()),
        extra_hosts: Some(
            pod.request
                .hosts
                .iter()
                .flat_map(|host| ["127.0.0.1", "::1"].map(|address| format!("{host}:{address}")))
                .collect(),
        ),
        log_config: Some(no_log()),
        ..HostConfig::default()
    };
    let body = ContainerCreateBody {
        image: Some(image),
        // Its input is open and nothing ever comes: a shell needs no program to wait.
        entrypoint: Some(["sh", "-c", "read -r hm_line"].map(Into::into).into()),
        cmd: Some(Vec::new()),
        user: Some("0:0".into()),
        working_dir: Some("/".into()),
        open_stdin: Some(true),
        labels: Some(shared.labels(POD, &id.0).await?),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptions {
        name: Some(format!("hm-pod-{}", id.0)),
        ..CreateContainerOptions::default()
    };
    let created = docker
        .create_container(Some(options), body)
        .await
        .map_err(failed("cannot make the pod's container"))?;
    // From here on closing the pod removes it.
    *holder = Holder::Made(created.id.clone());
    docker
        .start_container(&created.id, None::<StartContainerOptions>)
        .await
        .map_err(failed("cannot start the pod's container"))?;
    Ok(created.id)
}
