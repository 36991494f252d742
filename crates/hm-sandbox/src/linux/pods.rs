//! The pods that are open, on hm's side. They are the supervisor's: with it they go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::client::Supervisor;
use hm_vm::{PodId, PodRequest, Result, VmError};

#[derive(Debug, Default)]
pub(super) struct Pods(Mutex<HashMap<PodId, (Weak<Supervisor>, u64)>>);

impl Pods {
    pub(super) fn open(&self, supervisor: &Arc<Supervisor>, request: &PodRequest) -> Result<PodId> {
        for host in &request.hosts {
            check(host)?;
        }
        let number = supervisor.open_pod(request)?;
        let id = PodId(format!("sandbox-{}", uuid::Uuid::now_v7().simple()));
        self.lock()
            .insert(id.clone(), (Arc::downgrade(supervisor), number));
        Ok(id)
    }

    /// Nothing when it is not open.
    pub(super) fn close(&self, id: &PodId) {
        let pod = self.lock().remove(id);
        if let Some((supervisor, number)) = pod
            && let Some(supervisor) = supervisor.upgrade()
        {
            supervisor.close_pod(number);
        }
    }

    /// A pod's number, for a command that this supervisor starts.
    pub(super) fn find(&self, id: &PodId, supervisor: &Arc<Supervisor>) -> Result<u64> {
        match self.lock().get(id) {
            Some((theirs, number)) if std::ptr::eq(theirs.as_ptr(), Arc::as_ptr(supervisor)) => Ok(*number),
            _ => Err(VmError::Setup(format!("the pod {} is not open", id.0))),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PodId, (Weak<Supervisor>, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that stands in a hosts file must be one there.
fn check(host: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !host.is_empty() && host.len() <= 253 && host.bytes().all(plain) {
        return Ok(());
    }
    Err(VmError::Setup(format!(
        "`{host}` is no host name: letters, digits, `-`, `_` and `.` are"
    )))
}
