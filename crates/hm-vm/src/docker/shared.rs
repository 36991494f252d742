//! What a backend and its machines share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{RemoveContainerOptions, RemoveImageOptions};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use super::DockerConfig;
use super::engine::{self, failed, found};
use super::labels::{ID, OWNER, ROLE, STORE};
use super::pod::Pod;
use super::state::State;
use crate::oci::ImageProgress;
use crate::{PodId, Result, VmError};

/// How often what is on its way out is tried again, and how long after.
const TRIES: usize = 100;
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Shared {
    pub config: DockerConfig,
    engine: OnceCell<Docker>,
    state: OnceCell<State>,
    pub pods: Mutex<HashMap<PodId, Arc<Pod>>>,
    /// References that a registry was asked about already.
    pub asked: Mutex<HashSet<String>>,
    /// What is being removed in the background.
    removals: TaskTracker,
}

impl Shared {
    pub(super) fn new(config: DockerConfig) -> Self {
        Self {
            config,
            engine: OnceCell::new(),
            state: OnceCell::new(),
            pods: Mutex::default(),
            asked: Mutex::default(),
            removals: TaskTracker::new(),
        }
    }

    /// The engine, connected to when it is first needed.
    pub(super) async fn docker(&self) -> Result<&Docker> {
        let host = self.config.host.as_deref();
        self.engine.get_or_try_init(|| engine::connect(host)).await
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
        // Without a runtime the next process that reclaims finds it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let removal = self.removals.track_future(async move {
            if let Err(error) = shared.remove_container(&id).await {
                tracing::warn!(%error, "a container is left behind; the next run removes it");
            }
        });
        runtime.spawn(removal);
    }

    /// Takes the name of an image off it in the background.
    pub(super) fn discard_image(self: &Arc<Self>, name: String) {
        let shared = self.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let removal = self.removals.track_future(async move {
            if let Err(error) = shared.remove_image(&name).await {
                tracing::warn!(%error, "an image is left behind; the next run removes it");
            }
        });
        runtime.spawn(removal);
    }

    /// Waits until all that was discarded is removed.
    pub(super) async fn settle(&self) {
        self.removals.close();
        self.removals.wait().await;
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
                // Podman found a container that was gone a moment later.
                Err(error) if error.to_string().contains("no such container") => {
                    tokio::time::sleep(AGAIN).await
                }
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

/// Variables as the engine lists them.
pub(super) fn variables(listed: Option<Vec<String>>) -> BTreeMap<String, String> {
    let split = |variable: String| {
        let (name, value) = variable.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    listed.into_iter().flatten().filter_map(split).collect()
}
