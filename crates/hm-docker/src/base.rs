//! What a machine's container is made from: an image, and what is known of it.

use std::collections::BTreeMap;

use bollard::models::ImageConfig;
use serde::{Deserialize, Serialize};

use super::engine::{failed, found};
use super::labels::{SNAPSHOT, image_name};
use super::shared::{Shared, variables};
use super::state;
use hm_vm::{Result, SnapshotId, VmError};

/// How deep the engine's images may become: it refuses more than about 125 layers.
pub(super) const DEEPEST: usize = 100;

/// An image with the source that it holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Base {
    /// What the engine knows it by.
    pub image: String,
    /// The image that a plan named, below all else.
    pub root: String,
    /// How many layers it has.
    pub layers: usize,
    /// The source that lies in it, by [`hm_source::Source::id`] and by its manifest; `None` is an empty one.
    pub source: Option<Laid>,
    /// The manifests of other sources that it was found to be usable over, the newest last.
    #[serde(default)]
    pub usable_over: Vec<String>,
    /// What the image says is a `VOLUME`: the engine keeps what is written there out of every image.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// What the image gives every command.
    pub env: BTreeMap<String, String>,
}

/// A source that lies in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Laid {
    pub id: String,
    pub manifest: String,
}

impl Base {
    /// Says once that what steps write to an image's volumes is in no snapshot.
    pub(super) fn tell_volumes(&self, shared: &Shared) {
        let notice = format!(
            "it declares VOLUME {}: the engine keeps no step's files there, and the next step does not see them",
            self.volumes.join(" ")
        );
        shared.tell_once(&self.root, &notice);
    }

    /// An image of the engine's, as it is.
    pub(super) async fn of_image(shared: &Shared, image: &str) -> Result<Option<Self>> {
        let docker = shared.docker().await?;
        let inspected = found(docker.inspect_image(image).await)
            .map_err(failed(format!("cannot look at the image {image}")))?;
        let Some(inspected) = inspected else {
            return Ok(None);
        };
        let id = inspected.id.unwrap_or_else(|| image.to_owned());
        Ok(Some(Self {
            image: id.clone(),
            root: id,
            layers: inspected
                .root_fs
                .and_then(|root| root.layers)
                .map_or(1, |layers| layers.len()),
            source: None,
            volumes: volumes(inspected.config.as_ref()),
            usable_over: Vec::new(),
            env: variables(inspected.config.and_then(|config| config.env)),
        }))
    }

    /// A snapshot's.
    pub(super) async fn of_snapshot(shared: &Shared, snapshot: &SnapshotId) -> Result<Option<Self>> {
        if !is_id(&snapshot.0) {
            return Ok(None);
        }
        let state = shared.state().await?;
        let Some(base) = state::read_json::<Self>(&state.snapshot(&snapshot.0))? else {
            return Ok(None);
        };
        let docker = shared.docker().await?;
        let there = found(docker.inspect_image(&base.image).await)
            .map_err(failed(format!("cannot look at the snapshot {snapshot}")))?;
        Ok(there.map(|_| base))
    }

    /// The one of a snapshot that must be there.
    pub(super) async fn restored(shared: &Shared, snapshot: &SnapshotId) -> Result<Self> {
        Self::of_snapshot(shared, snapshot)
            .await?
            .ok_or_else(|| VmError::SnapshotNotFound(snapshot.clone()))
    }
}

fn volumes(config: Option<&ImageConfig>) -> Vec<String> {
    let declared = config.and_then(|config| config.volumes.as_ref());
    let mut volumes: Vec<_> = declared
        .into_iter()
        .flatten()
        .map(|volume| volume.trim_end_matches('/').to_owned())
        .collect();
    volumes.sort();
    volumes
}

/// Whether this can be a snapshot's id, and so the name of a file.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The name of a snapshot's image.
pub(super) fn snapshot_image(id: &str) -> String {
    image_name(SNAPSHOT, id)
}
