//! What processes that were killed have left in the engine.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use bollard::query_parameters::{ListVolumesOptions, RemoveImageOptions};

use super::base::Base;
use super::caches;
use super::engine::{failed, found, status};
use super::labels::{CACHE, MACHINE, OWNER, PASSING, POD, ROLE, SNAPSHOT, SOURCED, STORE, filter};
use super::shared::Shared;
use super::sourced::{self, Made};
use super::state;
use super::usage::{self, Listing};
use hm_vm::Result;

/// A file that nothing refers to yet may be about to be.
const YOUNG: Duration = Duration::from_secs(3600);

/// The engine's containers, running or not, that a filter lets through.
async fn containers(
    shared: &Shared,
    filter: &HashMap<String, Vec<String>>,
) -> Result<Vec<serde_json::Value>> {
    let filter: String = serde_json::json!(filter)
        .to_string()
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    let listed = shared
        .ask(&format!("/containers/json?all=1&filters={filter}"))
        .await?;
    Ok(match listed {
        Some(serde_json::Value::Array(containers)) => containers,
        _ => Vec::new(),
    })
}

/// Removes what bears the label of a process of this data directory that is gone, and nothing else.
pub(super) async fn reclaim(shared: &Shared) -> Result<()> {
    let (docker, state) = (shared.docker().await?, shared.state().await?);
    let dead = |labels: Option<&HashMap<String, String>>| {
        let owner = labels.and_then(|labels| labels.get(OWNER));
        owner.is_some_and(|owner| !state.lives(owner))
    };
    for role in [MACHINE, POD] {
        for container in containers(shared, &filter(&state.store, role)).await? {
            let owner = container.pointer(&format!("/Labels/{OWNER}"));
            let owner = owner.and_then(serde_json::Value::as_str);
            let id = container["Id"].as_str();
            if let Some(id) = id.filter(|_| owner.is_some_and(|owner| !state.lives(owner))) {
                shared.remove_container(id).await?;
            }
        }
    }
    sourced::forget_idle(shared, sourced::IDLE).await?;
    let (mut snapshots, mut made, mut manifests) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut bases = Vec::new();
    for id in state.names("snapshots")? {
        snapshots.insert(super::base::snapshot_image(&id));
        bases.extend(state::read_json::<Base>(&state.snapshot(&id))?);
    }
    for key in state.names("sourced")? {
        let Some(found) = state::read_json::<Made>(&state.sourced(&key))? else {
            continue;
        };
        for base in [found.whole, found.changed].into_iter().flatten() {
            made.insert(base.image.clone());
            bases.push(base);
        }
    }
    manifests.extend(bases.into_iter().filter_map(|base| Some(base.source?.manifest)));
    let listing = Listing::of(shared.docker().await?).await?;
    for (role, known) in [
        (PASSING, &HashSet::new()),
        (SNAPSHOT, &snapshots),
        (SOURCED, &made),
    ] {
        for (name, image) in usage::unknown(&listing, &state.store, role, known) {
            if dead(Some(&image.labels)) {
                shared.remove_image(name).await?;
            }
        }
    }
    for image in listing.all() {
        let label = |key: &str| image.labels.get(key).map(String::as_str);
        let role = label(ROLE).is_some_and(|role| [PASSING, SNAPSHOT, SOURCED].contains(&role));
        if image.repo_tags.is_empty()
            && role
            && label(STORE) == Some(&state.store)
            && dead(Some(&image.labels))
        {
            // It lost its name while a container ran from it. One that others build on is refused, and stays.
            match docker
                .remove_image(&image.id, None::<RemoveImageOptions>, None)
                .await
            {
                Err(error) if status(&error) == Some(409) => {}
                removed => drop(found(removed).map_err(failed("cannot remove an image"))?),
            }
        }
    }
    let kept: HashSet<_> = caches::current(shared)
        .await?
        .into_iter()
        .map(|cache| cache.volume)
        .collect();
    let options = ListVolumesOptions {
        filters: Some(filter(&state.store, CACHE)),
    };
    let volumes = docker
        .list_volumes(Some(options))
        .await
        .map_err(failed("cannot list the engine's volumes"))?;
    for volume in volumes.volumes.into_iter().flatten() {
        if !kept.contains(&volume.name) && dead(Some(&volume.labels)) {
            shared.remove_volume(&volume.name).await?;
        }
    }
    for digest in state.names("manifests")? {
        let path = state.manifest(&digest);
        let age = std::fs::metadata(&path)
            .and_then(|metadata| metadata.modified())
            .ok();
        let old = age
            .and_then(|age| SystemTime::now().duration_since(age).ok())
            .is_some_and(|age| age > YOUNG);
        if old && !manifests.contains(&digest) {
            state::remove(&path)?;
        }
    }
    state.forget_the_dead()
}
