//! Cache directories: volumes.
//!
//! One command at a time uses a cache directory; others wait for it, whichever process they are of. It gets a new
//! volume with a copy of the current one, made in its own container before it begins. If it passes, the new volume
//! becomes the current one, and the old one goes; if not, the new one goes: what a command that failed or was killed
//! wrote is never seen. The price is that copy.
//!
//! Nobody waits for a command that keeps nothing: what it sees is copied before it begins, by a container of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::DownloadFromContainerOptions;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::base::Base;
use super::container::{Container, Shape};
use super::engine::{failed, found};
use super::labels::CACHE;
use super::run;
use super::script::{self, Copy};
use super::shared::Shared;
use super::state;
use super::stream;
use hm_vm::{
    CacheDirectory, CacheKeep, CacheMount, Cancel, ExecOutcome, ExecRequest, Network, Result, VmError,
};

/// A cache directory that is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Current {
    pub name: String,
    /// The engine's volume.
    pub volume: String,
    used: SystemTime,
    /// How much it takes up: what was measured, or what the one before it took up.
    #[serde(default)]
    bytes: u64,
    /// Whether that was measured. A volume never changes once it is kept.
    #[serde(default)]
    measured: bool,
}

/// What one command holds of cache directories.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<One>);

#[derive(Debug)]
struct One {
    mount: CacheMount,
    /// Where it lies in the container.
    target: String,
    /// What is copied.
    before: Option<String>,
    /// How much that takes up, as far as it is known.
    bytes: u64,
    /// What the command writes to.
    volume: String,
    /// Whether that is to stay.
    kept: bool,
    shared: Arc<Shared>,
    /// Held locked, unless nothing is kept.
    _lock: Option<File>,
}

impl Drop for One {
    /// What is not kept goes.
    fn drop(&mut self) {
        if !self.kept {
            self.shared.discard_volume(std::mem::take(&mut self.volume));
        }
    }
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Volumes and where they are mounted. The one that is copied lies below `/dev`, which is in no snapshot.
    pub(super) fn volumes(&self) -> Vec<(String, String)> {
        let mut volumes = Vec::new();
        for (number, one) in self.0.iter().enumerate() {
            volumes.push((one.volume.clone(), one.target.clone()));
            if let Some(before) = &one.before {
                volumes.push((before.clone(), beside(number)));
            }
        }
        volumes
    }

    /// What is copied before the command runs.
    pub(super) fn copies(&self) -> Vec<Copy> {
        let one = |(number, one): (usize, &One)| {
            one.before.as_ref()?;
            Some(Copy {
                from: beside(number),
                to: one.target.clone(),
            })
        };
        self.0.iter().enumerate().filter_map(one).collect()
    }

    /// Whether anything is kept of a command that ended so.
    pub(super) fn is_kept(&self, outcome: &ExecOutcome) -> bool {
        self.0.iter().any(|one| one.mount.keep.keeps(outcome))
    }

    /// Keeps what a command wrote that ended so, where that says so. No container has the volumes any more.
    pub(super) async fn keep(self, shared: &Arc<Shared>, outcome: &ExecOutcome) -> Result<()> {
        let state = shared.state().await?;
        let kept = self.0.into_iter().filter(|one| one.mount.keep.keeps(outcome));
        for mut one in kept {
            let current = Current {
                name: one.mount.name.clone(),
                volume: one.volume.clone(),
                used: SystemTime::now(),
                bytes: one.bytes,
                measured: false,
            };
            state.write_json(&state.cache(&one.mount.name), &current)?;
            one.kept = true;
            if let Some(before) = one.before.take() {
                shared.discard_volume(before);
            }
        }
        Ok(())
    }
}

fn beside(number: usize) -> String {
    format!("/dev/.hm-cache-{number}")
}

/// Waits for the cache directories of a request, and makes a volume for each.
pub(super) async fn hold(shared: &Arc<Shared>, base: &Base, request: &ExecRequest) -> Result<Held> {
    let mut held = Held::default();
    // In one order, so that no two commands wait for each other.
    let mut mounts = request.caches.clone();
    mounts.sort();
    mounts.dedup();
    for mount in mounts {
        let (state, docker) = (shared.state().await?, shared.docker().await?);
        let lock = state.lock(&lock_name(&mount.name)).await?;
        let target = match mount.path.strip_prefix("~") {
            Ok(inside) => Path::new(&home(shared, base, request.user.as_deref()).await?).join(inside),
            Err(_) => mount.path.clone(),
        };
        let current = state::read_json::<Current>(&state.cache(&mount.name))?;
        let bytes = current.as_ref().map_or(0, |current| current.bytes);
        let before = match current {
            Some(current) => {
                let there = found(docker.inspect_volume(&current.volume).await);
                there
                    .map_err(failed("cannot look for a cache directory"))?
                    .map(|_| current.volume)
            }
            None => None,
        };
        let id = Uuid::now_v7().simple().to_string();
        let volume = format!("hm-cache-{}-{id}", mount.name);
        let wanted = VolumeCreateRequest {
            name: Some(volume.clone()),
            labels: Some(shared.labels(CACHE, &mount.name).await?),
            ..VolumeCreateRequest::default()
        };
        let one = One {
            mount,
            target: target.to_string_lossy().into_owned(),
            before,
            bytes,
            volume,
            kept: false,
            shared: shared.clone(),
            _lock: Some(lock),
        };
        let own = shared.clone();
        let made = async move {
            let made = own.docker().await?.create_volume(wanted).await;
            made.map_err(failed(format!(
                "cannot make the cache directory {}",
                one.mount.name
            )))?;
            Ok(one)
        };
        held.0.push(shared.to_its_end(made).await?);
    }
    if held.0.iter().all(|one| one.mount.keep == CacheKeep::Never) {
        copy_now(shared, base, &held).await?;
        for one in &mut held.0 {
            (one.before, one._lock) = (None, None);
        }
    }
    Ok(held)
}

/// Copies before the command begins what it is to see.
async fn copy_now(shared: &Arc<Shared>, base: &Base, held: &Held) -> Result<()> {
    let copies = held.copies();
    if copies.is_empty() {
        return Ok(());
    }
    let mut request = ExecRequest::shell("true");
    request.network = Network::None;
    let line = script::line(&request, &copies)?;
    let shape = Shape::of(&request, None, held.volumes());
    let container = Container::create(shared, &base.image, &shape)
        .await?
        .ok_or_else(|| VmError::Other("an image went away while it was used; run again".into()))?;
    let (output, mut chunks) = mpsc::channel(1);
    let copied = async {
        match run::start(shared, &container).await? {
            run::Start::Started(started) => {
                run::drive(shared, *started, &line, &request, &output, &Cancel::new()).await
            }
            run::Start::NoShell(outcome) => Ok(outcome),
        }
    };
    let copied = tokio::select! {
        copied = copied => copied?,
        // What is written goes nowhere.
        () = async { while chunks.recv().await.is_some() {} } => return Ok(()),
    };
    match copied.status.code() {
        0 => Ok(()),
        code => Err(VmError::Other(format!(
            "cannot copy the cache directories: `cp` ended with exit code {code}"
        ))),
    }
}

fn lock_name(name: &str) -> String {
    format!("cache-{name}")
}

/// The home of a user, as the image has it.
async fn home(shared: &Arc<Shared>, base: &Base, user: Option<&str>) -> Result<String> {
    let user = user.unwrap_or("root");
    let user = user.split(':').next().unwrap_or(user);
    if let Some(home) = base.env.get("HOME") {
        return Ok(home.clone());
    }
    if user == "root" || user == "0" {
        return Ok("/root".into());
    }
    let shape = Shape::of(&ExecRequest::shell(""), None, Vec::new());
    let container = Container::create(shared, &base.image, &shape)
        .await?
        .ok_or_else(|| VmError::Other("an image went away while it was used; run again".into()))?;
    let options = DownloadFromContainerOptions {
        path: "/etc/passwd".into(),
    };
    let docker = shared.docker().await?.clone();
    let (archive, _flow) = stream::readable(docker.download_from_container(&container.id, Some(options)));
    let users = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        for entry in tar::Archive::new(archive).entries()? {
            entry?.take(1 << 20).read_to_string(&mut text)?;
        }
        std::io::Result::Ok(text)
    })
    .await;
    let users = users.ok().and_then(std::result::Result::ok).unwrap_or_default();
    let home = users.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let known = fields.first() == Some(&user) || fields.get(2) == Some(&user);
        known.then(|| fields.get(5).map(ToString::to_string)).flatten()
    });
    Ok(home
        .filter(|home| home.starts_with('/'))
        .unwrap_or_else(|| "/".into()))
}

/// The cache directories that are kept, as the state has them.
pub(super) async fn current(shared: &Shared) -> Result<Vec<Current>> {
    let state = shared.state().await?;
    let mut found = Vec::new();
    for key in state.names("caches")? {
        found.extend(state::read_json::<Current>(&state.cache_by_key(&key))?);
    }
    Ok(found)
}

/// The cache directories with their sizes: those that are known or found out in a moment, the rest as large as before.
pub(super) async fn at_hand(shared: &Shared) -> Result<Vec<CacheDirectory>> {
    let (docker, state) = (shared.docker().await?, shared.state().await?);
    let mut kept = current(shared).await?;
    for current in kept.iter_mut().filter(|current| !current.measured) {
        let volume = found(docker.inspect_volume(&current.volume).await);
        let volume = volume.map_err(failed("cannot look at a cache directory"))?;
        let Some(place) = volume.map(|volume| PathBuf::from(volume.mountpoint)) else {
            continue;
        };
        let measured = tokio::task::spawn_blocking(move || blocks(&place)).await;
        if let Ok(Ok(bytes)) = measured {
            (current.bytes, current.measured) = (bytes, true);
            state.write_json(&state.cache(&current.name), current)?;
        }
    }
    Ok(kept.iter().map(Current::listed).collect())
}

/// The cache directories with their sizes. The engine is asked for those that cannot be found out from here, which takes
/// it seconds.
pub(super) async fn list(shared: &Shared) -> Result<Vec<CacheDirectory>> {
    let listed = at_hand(shared).await?;
    let state = shared.state().await?;
    let mut kept = current(shared).await?;
    if kept.iter().all(|current| current.measured) {
        return Ok(listed);
    }
    let sizes = volume_sizes(shared).await?;
    for current in kept.iter_mut().filter(|current| !current.measured) {
        if let Some(bytes) = sizes.get(&current.volume) {
            (current.bytes, current.measured) = (*bytes, true);
            state.write_json(&state.cache(&current.name), current)?;
        }
    }
    Ok(kept.iter().map(Current::listed).collect())
}

impl Current {
    fn listed(&self) -> CacheDirectory {
        CacheDirectory {
            name: self.name.clone(),
            bytes: self.bytes,
            used: self.used,
        }
    }
}

/// The bytes of real blocks below a directory of this machine, where it may be read.
fn blocks(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = std::fs::symlink_metadata(directory)?.blocks() * 512;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            blocks(&entry.path())?
        } else {
            entry.metadata()?.blocks() * 512
        };
    }
    Ok(bytes)
}

/// Removes a cache directory, and returns how many bytes it took up.
pub(super) async fn remove(shared: &Shared, name: &str) -> Result<u64> {
    let state = shared.state().await?;
    let _lock = state.lock(&lock_name(name)).await?;
    let Some(current) = state::read_json::<Current>(&state.cache(name))? else {
        return Ok(0);
    };
    let listed = list(shared).await?;
    let bytes = listed
        .iter()
        .find(|cache| cache.name == name)
        .map_or(0, |cache| cache.bytes);
    shared.remove_volume(&current.volume).await?;
    state::remove(&state.cache(name))?;
    Ok(bytes)
}

/// The sizes of the engine's volumes. The engine measures them for this.
async fn volume_sizes(shared: &Shared) -> Result<HashMap<String, u64>> {
    // Older ones do not know what they need not measure, and do not mind.
    let answer = shared.ask("/system/df?type=volume").await?.unwrap_or_default();
    // Of the newest engines' two forms we ask for neither and take what comes.
    let listed = answer
        .get("Volumes")
        .or_else(|| answer.pointer("/VolumeUsage/Items"))
        .and_then(Value::as_array);
    let size = |volume: &Value| {
        let name = volume.get("Name")?.as_str()?.to_owned();
        let bytes = volume.pointer("/UsageData/Size")?.as_i64()?;
        Some((name, u64::try_from(bytes).unwrap_or(0)))
    };
    Ok(listed.into_iter().flatten().filter_map(size).collect())
}
