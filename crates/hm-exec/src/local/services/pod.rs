//! A pod: opened by a task that closes it, too, whatever becomes of those who use it.

use std::sync::Arc;

use hm_vm::{PodId, PodRequest, VmBackend, VmError};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::Site;

/// A pod that is open for as long as somebody holds this, and as there are machines in it.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) id: PodId,
    /// The tasks of the services in it.
    pub(super) machines: TaskTracker,
    _close: DropGuard,
}

impl Pod {
    pub(super) async fn open(site: &Site, request: PodRequest) -> Result<Arc<Self>, VmError> {
        let (opened, answer) = oneshot::channel();
        let (machines, close) = (TaskTracker::new(), CancellationToken::new());
        let guard = close.clone().drop_guard();
        let vm = Arc::clone(&site.vm);
        site.tasks
            .spawn(keep(vm, request, opened, machines.clone(), close));
        let id = answer
            .await
            .map_err(|_| VmError::Other("a pod's task ended early; this is a bug in hm".into()))??;
        Ok(Arc::new(Self {
            id,
            machines,
            _close: guard,
        }))
    }
}

async fn keep(
    vm: Arc<dyn VmBackend>,
    request: PodRequest,
    opened: oneshot::Sender<Result<PodId, VmError>>,
    machines: TaskTracker,
    close: CancellationToken,
) {
    let id = match vm.open_pod(&request).await {
        Ok(id) => id,
        Err(error) => {
            let _ = opened.send(Err(error));
            return;
        }
    };
    if opened.send(Ok(id.clone())).is_ok() {
        close.cancelled().await;
    }
    machines.close();
    machines.wait().await;
    if let Err(error) = vm.close_pod(&id).await {
        tracing::warn!(pod = id.0, %error, "a pod could not be closed");
    }
}
