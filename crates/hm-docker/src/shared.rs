//! What a backend and its machines share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::SystemInfo;
use bollard::query_parameters::{RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions};
use tokio::sync::{OnceCell, oneshot};
use tokio_util::task::TaskTracker;

use super::DockerConfig;
use super::engine::{self, failed, found, status};
use super::labels::{ID, OWNER, ROLE, STORE};
use super::pod::Pod;
use super::state::State;
use super::usage::Listing;
use hm_oci::ImageProgress;
use hm_vm::{PodId, Result, VmError};

/// How often what is on its way out is tried again, and how long after.
const TRIES: usize = 100;
const AGAIN: Duration = Duration::from_millis(50);

/// How long the engine may take for the next of what goes on in the background.
const SETTLE: Duration = Duration::from_secs(1);

/// How old a listing of images may be that says how much a removal frees.
const RECENT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Shared {
    pub config: DockerConfig,
    engine: OnceCell<Docker>,
    info: OnceCell<SystemInfo>,
    state: OnceCell<State>,
    pub pods: Mutex<HashMap<PodId, Arc<Pod>>>,
    /// References that a registry was asked about already.
    pub asked: Mutex<HashSet<String>>,
    /// The engine's images as they were listed last for a removal.
    listing: tokio::sync::Mutex<Option<(Instant, Arc<Listing>)>>,
    /// What goes on in the engine that nobody need wait for, removals above all.
    background: TaskTracker,
}

impl Shared {
    pub(super) fn new(config: DockerConfig) -> Self {
        Self {
            config,
            engine: OnceCell::new(),
            info: OnceCell::new(),
            state: OnceCell::new(),
            pods: Mutex::default(),
            asked: Mutex::default(),
            listing: tokio::sync::Mutex::default(),
            background: TaskTracker::new(),
        }
    }

    /// The engine, connected to when it is first needed.
    pub(super) async fn docker(&self) -> Result<&Docker> {
        let host = self.config.host.as_deref();
        self.engine.get_or_try_init(|| engine::connect(host)).await
    }

    /// What the engine says of itself.
    pub(super) async fn info(&self) -> Result<&SystemInfo> {
        let ask = || async {
            let asked = self.docker().await?.info().await;
            asked.map_err(failed("cannot ask the engine about itself"))
        };
        self.info.get_or_try_init(ask).await
    }

    /// Asks the engine for something that only some engines tell in the form that the client crate reads.
    pub(super) async fn ask(&self, path: &str) -> Result<Option<serde_json::Value>> {
        let answer = engine::ask(self.docker().await?, self.config.host.as_deref(), path).await;
        answer.map_err(|error| VmError::Other(format!("cannot ask the engine for {path}: {error}")))
    }

    /// How large `/dev/shm` of a container may become: half of the memory, as everywhere on Linux. It counts as memory.
    pub(super) async fn shared_memory(&self) -> Option<i64> {
        let memory = self.info().await.ok()?.mem_total?;
        (memory > 0).then_some(memory / 2)
    }

    /// The engine's images some seconds ago at most: who removes many asks once what they take up.
    pub(super) async fn recent_listing(&self) -> Result<Arc<Listing>> {
        let mut listing = self.listing.lock().await;
        if let Some((at, recent)) = &*listing
            && at.elapsed() < RECENT
        {
            return Ok(recent.clone());
        }
        let fresh = Arc::new(Listing::of(self.docker().await?).await?);
        *listing = Some((Instant::now(), fresh.clone()));
        Ok(fresh)
    }

    pub(super) async fn state(&self) -> Result<&State> {
        let root = self.config.data_dir.join("docker");
        self.state
            .get_or_try_init(|| async {
                tokio::task::spawn_blocking(move || State::open(root))
                    .await
                    .map_err(|error| {
                        VmError::Other(format!("a task of the docker backend failed: {error}"))
                    })?
            })
            .await
    }

    /// The labels of something that this backend makes.
    pub(super) async fn labels(&self, role: &str, id: &str) -> Result<HashMap<String, String>> {
        let state = self.state().await?;
        let labels = [
            (STORE, state.store.as_str()),
            (OWNER, &state.owner),
            (ROLE, role),
            (ID, id),
        ];
        Ok(labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into())
    }

    /// Removes a container, whatever runs in it, and the volumes that only it has.
    pub(super) async fn remove_container(&self, id: &str) -> Result<()> {
        let docker = self.docker().await?;
        let options = RemoveContainerOptions {
            v: true,
            force: true,
            link: false,
        };
        match docker.remove_container(id, Some(options)).await {
            // It is being removed already.
            Err(error) if engine::status(&error) == Some(409) => Ok(()),
            removed => found(removed)
                .map(drop)
                .map_err(failed(format!("cannot remove the container {id}"))),
        }
    }

    /// Removes a container in the background; [`Shared::settle`] waits for it.
    pub(super) fn discard(self: &Arc<Self>, id: String) {
        let shared = self.clone();
        self.in_background("container", async move { shared.remove_container(&id).await });
    }

    /// Takes the name of an image off it in the background.
    pub(super) fn discard_image(self: &Arc<Self>, name: String) {
        let shared = self.clone();
        self.in_background("image", async move { shared.remove_image(&name).await });
    }

    /// Removes a volume, once no container has it.
    pub(super) async fn remove_volume(&self, volume: &str) -> Result<()> {
        let docker = self.docker().await?;
        for _ in 0..TRIES {
            match docker.remove_volume(volume, None::<RemoveVolumeOptions>).await {
                // The container that had it is on its way out.
                Err(error) if status(&error) == Some(409) => tokio::time::sleep(AGAIN).await,
                removed => {
                    return found(removed)
                        .map(drop)
                        .map_err(failed(format!("cannot remove the volume {volume}")));
                }
            }
        }
        tracing::warn!(%volume, "a volume is left behind; a later run removes it");
        Ok(())
    }

    /// Removes a volume in the background, once no container has it.
    pub(super) fn discard_volume(self: &Arc<Self>, name: String) {
        let shared = self.clone();
        self.in_background("volume", async move { shared.remove_volume(&name).await });
    }

    fn in_background(&self, what: &'static str, removal: impl Future<Output = Result<()>> + Send + 'static) {
        // Without a runtime the next process that reclaims finds it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(self.background.track_future(async move {
            if let Err(error) = removal.await {
                tracing::warn!(%error, "a {what} is left behind; the next run removes it");
            }
        }));
    }

    /// Has the engine do what it does whether or not somebody waits for the answer. When nobody does any more, what it
    /// made is dropped with the answer, and so removed.
    pub(super) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(self.background.track_future(async move {
            let _ = sender.send(work.await);
        }));
        let failed = |_| VmError::Other("a task of the docker backend failed".into());
        receiver.await.map_err(failed)?
    }

    /// Waits until all that was discarded is removed.
    /// An engine that is still busy with one is not waited for: the next run removes what is left.
    pub(super) async fn settle(&self) {
        self.background.close();
        let mut left = usize::MAX;
        while tokio::time::timeout(SETTLE, self.background.wait())
            .await
            .is_err()
        {
            let now = self.background.len();
            if now >= left {
                tracing::warn!("the engine is busy; the next run removes what this one has left in it");
                return;
            }
            left = now;
        }
    }

    /// Takes a name off an image; its layers go with the last image that is built on them.
    pub(super) async fn remove_image(&self, name: &str) -> Result<()> {
        let docker = self.docker().await?;
        let mut force = false;
        for _ in 0..TRIES {
            let options = RemoveImageOptions {
                force,
                ..RemoveImageOptions::default()
            };
            match docker.remove_image(name, Some(options), None).await {
                // A container uses it. Docker takes the name off all the same when told to; Podman would remove the
                // container, whoever's it is.
                Err(error) if engine::status(&error) == Some(409) && !force => {
                    if engine::is_podman(docker).await? {
                        // Perhaps one of ours, on its way out.
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                    force = true;
                }
                // The engine found what was gone a moment later: another removal took it along.
                Err(error) if is_overtaken(&error) => tokio::time::sleep(AGAIN).await,
                removed => {
                    return found(removed)
                        .map(drop)
                        .map_err(failed(format!("cannot remove the image {name}")));
                }
            }
        }
        tracing::warn!(%name, "an image is left behind; a later run removes it");
        Ok(())
    }

    pub(super) fn tell(&self, image: &str, progress: &ImageProgress) {
        if let Some(listener) = &self.config.progress {
            listener.progress(image, progress);
        }
    }

    /// Says something of an image, or of what goes into one, that was not said before.
    pub(super) fn tell_once(&self, of: &str, notice: &str) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.insert(format!("{of}\0{notice}")) {
            drop(asked);
            self.tell(of, &ImageProgress::Notice(notice.to_owned()));
        }
    }

    /// A registry is asked about a reference again.
    pub(super) fn forget_asked(&self, reference: &str) {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(reference);
    }

    pub(super) fn pods(&self) -> std::sync::MutexGuard<'_, HashMap<PodId, Arc<Pod>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what was to be removed lost a part to another removal meanwhile. No engine has a status for that.
fn is_overtaken(error: &bollard::errors::Error) -> bool {
    let said = error.to_string();
    // Podman's words, and Docker's.
    [
        "no such container",
        "unrecognized image ID",
        "layer does not exist",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// Variables as the engine lists them.
pub(super) fn variables(listed: Option<Vec<String>>) -> BTreeMap<String, String> {
    let split = |variable: String| {
        let (name, value) = variable.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    listed.into_iter().flatten().filter_map(split).collect()
}
