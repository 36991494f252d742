//! One machine: an image, and a container above it once something has run.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, MutexGuard, mpsc};
use uuid::Uuid;

use super::base::{Base, snapshot_image};
use super::commit::{self, Named, not_sealed};
use super::container::{Container, Shape};
use super::labels::{PASSING, SNAPSHOT};
use super::shared::Shared;
use super::{attach, beside, caches, export, names, pods, run, script, sourced};
use hm_source::Source;
use hm_vm::{
    Cancel, ExecOutcome, ExecRequest, ExitStatus, Export, Exported, KillReason, OutputChunk, Result,
    Snapshot, SnapshotId, Terminal, Vm, VmError,
};

#[derive(Debug)]
pub(super) struct DockerVm {
    shared: Arc<Shared>,
    /// The snapshot that it began from, until it writes something.
    origin: Option<SnapshotId>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What the container was made from.
    base: Base,
    container: Option<Arc<Container>>,
    /// Images that only this machine needs.
    passing: Vec<String>,
    /// Cache directories of which nothing is kept, which go with the container.
    spent: Vec<caches::Held>,
}

impl Inner {
    /// The container, while a command runs in it.
    fn running(&self) -> Option<&Arc<Container>> {
        self.container.as_ref().filter(|container| container.is_running())
    }
}

impl DockerVm {
    pub(super) fn new(shared: Arc<Shared>, base: Base, origin: Option<SnapshotId>) -> Self {
        let inner = Inner {
            base,
            container: None,
            passing: Vec::new(),
            spent: Vec::new(),
        };
        Self {
            shared,
            origin,
            inner: Mutex::new(inner),
        }
    }

    /// A container for this request that does not run, with all that the machine wrote before.
    async fn container(
        &self,
        inner: &mut Inner,
        request: &ExecRequest,
        caches: &caches::Held,
    ) -> Result<Arc<Container>> {
        let holder = match &request.pod {
            Some(pod) => Some(pods::holder(&self.shared, pod, &inner.base.image).await?),
            None => None,
        };
        let shape = Shape::of(request, holder, caches.volumes());
        if let Some(container) = &inner.container {
            if container.shape == shape {
                return Ok(container.clone());
            }
            self.set_aside(inner).await?;
        }
        let container = Container::create(&self.shared, &inner.base.image, &shape)
            .await?
            .ok_or_else(|| {
                VmError::Other(format!(
                    "the image {} went away while a step was about to use it; run again",
                    inner.base.image
                ))
            })?;
        inner.container = Some(container.clone());
        Ok(container)
    }

    /// Runs the machine's own command.
    async fn main(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        request: &ExecRequest,
        held: &caches::Held,
        output: &mpsc::Sender<OutputChunk>,
        cancel: &Cancel,
    ) -> Result<ExecOutcome> {
        let line = script::line(request, &held.copies())?;
        let begun = async {
            let container = self.container(&mut inner, request, held).await?;
            run::start(&self.shared, &container).await
        };
        let begun = tokio::select! {
            begun = begun => begun?,
            () = cancel.terminated() => return Ok(canceled()),
        };
        let started = match begun {
            run::Start::Started(started) => *started,
            run::Start::NoShell(outcome) => return Ok(outcome),
        };
        drop(inner);
        run::drive(&self.shared, started, &line, request, output, cancel).await
    }

    /// Gives cache directories back. Their volumes are free once the container that has them is gone.
    async fn give_back(&self, held: caches::Held, outcome: Option<&ExecOutcome>) -> Result<()> {
        if held.is_empty() {
            return Ok(());
        }
        let mut inner = self.inner.lock().await;
        let Some(outcome) = outcome.filter(|outcome| held.is_kept(outcome)) else {
            inner.spent.push(held);
            return Ok(());
        };
        let has_them = |container: &Arc<Container>| container.shape.volumes == held.volumes();
        if inner.container.as_ref().is_some_and(has_them) {
            self.set_aside(&mut inner).await?;
        }
        drop(inner);
        held.keep(&self.shared, outcome).await
    }

    /// Makes an image of the container, so that another one can be made above it.
    async fn set_aside(&self, inner: &mut Inner) -> Result<()> {
        self.commit(inner, Named::new(PASSING)).await?;
        inner.passing.push(inner.base.image.clone());
        Ok(())
    }

    /// Makes an image of the container, which goes.
    async fn commit(&self, inner: &mut Inner, name: Named) -> Result<()> {
        let Some(container) = inner.container.clone() else {
            return Ok(());
        };
        let image = name.image();
        let committed = commit::commit(&self.shared, &container.id, &inner.base, name);
        let refused = names::refuse_marks(&self.shared, &container);
        let ((layers, made), ()) = tokio::try_join!(committed, refused)?;
        made.keep();
        inner.container = None;
        inner.base.image = image;
        inner.base.layers = layers;
        inner.base.usable_over.clear();
        Ok(())
    }

    async fn sealed(&mut self) -> Result<SnapshotId> {
        let id = Uuid::now_v7().simple().to_string();
        let state = self.shared.state().await?;
        let mut inner = self.inner.lock().await;
        if inner.running().is_some() {
            return Err(VmError::Other("a command still runs in the machine".into()));
        }
        if inner.container.is_none()
            && inner.passing.is_empty()
            && let Some(origin) = &self.origin
        {
            // Who wrote nothing is where it began.
            return Ok(origin.clone());
        }
        let name = Named {
            role: SNAPSHOT,
            id: id.clone(),
        };
        if !inner.base.volumes.is_empty() {
            inner.base.tell_volumes(&self.shared);
        }
        if inner.container.is_some() {
            self.commit(&mut inner, name).await?;
        } else {
            let (base, made) = commit::name(&self.shared, &inner.base, name).await?;
            made.keep();
            inner.base = base;
        }
        debug_assert_eq!(inner.base.image, snapshot_image(&id));
        let written = state.write_json(&state.snapshot(&id), &inner.base);
        if let Err(error) = written {
            self.shared.remove_image(&snapshot_image(&id)).await?;
            return Err(error);
        }
        Ok(SnapshotId(id))
    }

    /// Gives up what only this machine needs.
    fn clear(&mut self) {
        let inner = self.inner.get_mut();
        inner.container = None;
        inner.spent.clear();
        for image in std::mem::take(&mut inner.passing) {
            self.shared.discard_image(image);
        }
    }
}

#[async_trait]
impl Vm for DockerVm {
    async fn inject(&mut self, source: Arc<Source>) -> Result<()> {
        let origin = self.origin.as_ref().map(|origin| origin.0.as_str());
        let inner = self.inner.get_mut();
        inner.base = sourced::with(&self.shared, &inner.base, origin, &source).await?;
        Ok(())
    }

    async fn exec(
        &self,
        request: &ExecRequest,
        output: mpsc::Sender<OutputChunk>,
        cancel: Cancel,
    ) -> Result<ExecOutcome> {
        loop {
            if cancel.is_terminated() {
                return Ok(canceled());
            }
            let inner = self.inner.lock().await;
            if let Some(container) = inner.running().cloned() {
                drop(inner);
                match beside::run(&self.shared, &container, request, &output, &cancel).await? {
                    Some(outcome) => return Ok(outcome),
                    None => container.ended().await,
                }
                continue;
            }
            let held = tokio::select! {
                held = caches::hold(&self.shared, &inner.base, request) => held?,
                () = cancel.terminated() => return Ok(canceled()),
            };
            let outcome = self.main(inner, request, &held, &output, &cancel).await;
            tokio::select! {
                given = self.give_back(held, outcome.as_ref().ok()) => given?,
                () = cancel.killed() => {}
            }
            return outcome;
        }
    }

    async fn attach(&self, request: &ExecRequest, terminal: Terminal, cancel: Cancel) -> Result<ExecOutcome> {
        let mut inner = self.inner.lock().await;
        if inner.running().is_some() {
            return Err(VmError::Other("a command still runs in the machine".into()));
        }
        let held = caches::hold(&self.shared, &inner.base, request).await?;
        let attached = async {
            let container = self.container(&mut inner, request, &held).await?;
            let started = match run::start(&self.shared, &container).await? {
                run::Start::Started(started) => *started,
                run::Start::NoShell(outcome) => return Ok(outcome),
            };
            attach::attach(&self.shared, started, request, &held.copies(), terminal, &cancel).await
        };
        let outcome = attached.await;
        drop(inner);
        self.give_back(held, outcome.as_ref().ok()).await?;
        outcome
    }

    async fn export(&self, what: &Export, into: &Path) -> Result<Exported> {
        let mut inner = self.inner.lock().await;
        let container = match &inner.container {
            Some(container) => container.clone(),
            None => {
                let nothing = ExecRequest::shell("");
                self.container(&mut inner, &nothing, &caches::Held::default())
                    .await?
            }
        };
        drop(inner);
        export::export(&self.shared, &container.id, what, into).await
    }

    async fn snapshot(&mut self) -> Result<Snapshot> {
        let id = self.sealed().await.map_err(not_sealed)?;
        self.origin = Some(id.clone());
        for image in std::mem::take(&mut self.inner.get_mut().passing) {
            self.shared.discard_image(image);
        }
        Ok(Snapshot { id })
    }

    async fn destroy(mut self: Box<Self>) -> Result<()> {
        self.clear();
        Ok(())
    }
}

/// A command that was cancelled before it began.
fn canceled() -> ExecOutcome {
    ExecOutcome {
        status: ExitStatus::Signal(9),
        killed: Some(KillReason::Canceled),
        notes: Vec::new(),
    }
}

impl Drop for DockerVm {
    fn drop(&mut self) {
        self.clear();
    }
}
