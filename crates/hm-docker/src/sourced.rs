//! Images with a source laid into them, so that what the engine counts as a change is what a step wrote.
//!
//! An image that a plan names gets the whole source once, and beside that image one more with what differs today; a
//! snapshot gets one with what differs from the source that it holds. Both are made once for all machines that start
//! from there, and only what differs is ever sent.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard::query_parameters::UploadToContainerOptions;
use serde::{Deserialize, Serialize};

use super::base::{Base, Laid};
use super::commit::{self, FreshImage, Named};
use super::container::{Container, Shape};
use super::engine::failed;
use super::labels::SOURCED;
use super::manifest::Manifest;
use super::names;
use super::run;
use super::script;
use super::shared::Shared;
use super::state;
use super::stream;
use super::written;
use hm_source::Source;
use hm_vm::{ExecRequest, Network, Result, SnapshotCheck, SnapshotId, VmError};

/// Where the list of what is to be removed is put, for the shell that removes it.
const REMOVAL: &str = ".hm-removal";

/// How many other sources a snapshot is remembered to be usable over.
const REMEMBERED: usize = 8;

/// How long an image with a source is kept for nobody.
pub(super) const IDLE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many of them are kept, those that machines began from last: everything that lists the engine's images gets slower
/// with their number.
const NEWEST: usize = 16;

/// How long a machine may be about to make its container from one.
const IN_USE: Duration = Duration::from_secs(600);

/// What was made from one image.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Made {
    /// With a whole source.
    pub whole: Option<Base>,
    /// With what differs from that, or from the snapshot's.
    pub changed: Option<Base>,
    /// The snapshot that it is for; nothing when it is for an image.
    pub snapshot: Option<String>,
}

/// The base with this source in it.
pub(super) async fn with(
    shared: &Arc<Shared>,
    base: &Base,
    snapshot: Option<&str>,
    source: &Arc<Source>,
) -> Result<Base> {
    if base.source.as_ref().map_or("empty", |laid| laid.id.as_str()) == source.id() {
        return Ok(base.clone());
    }
    let state = shared.state().await?;
    let key = key(&base.image);
    let path = state.sourced(&key);
    // Others who start from here wait, and find it made.
    let _one_at_a_time = state.lock(&format!("sourced-{key}")).await?;
    let mut made: Made = state::read_json(&path)?.unwrap_or_default();
    // What is not used for long goes.
    let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
    made.snapshot = snapshot.map(ToOwned::to_owned);
    for found in [&made.changed, &made.whole].into_iter().flatten() {
        if found.source.as_ref().is_some_and(|laid| laid.id == source.id()) && exists(shared, found).await? {
            return Ok(found.clone());
        }
    }
    let wanted = Manifest::of(source);
    // A source that was frozen anew may still be the same.
    let manifest = wanted.store(state)?;
    let laid = Laid {
        id: source.id().to_owned(),
        manifest: manifest.clone(),
    };
    let same = |found: &Option<Base>| {
        let laid = found.as_ref().and_then(|found| found.source.as_ref());
        laid.is_some_and(|laid| laid.manifest == manifest)
    };
    let found = if same(&made.changed) {
        made.changed.as_mut()
    } else if same(&made.whole) {
        made.whole.as_mut()
    } else {
        None
    };
    if let Some(found) = found
        && exists(shared, found).await?
    {
        found.source = Some(laid);
        let found = found.clone();
        state.write_json(&path, &made)?;
        return Ok(found);
    }
    if snapshot.is_none() {
        let reusable = match &made.whole {
            Some(whole) => {
                exists(shared, whole).await? && {
                    let before =
                        Manifest::load(state, whole.source.as_ref().map(|laid| laid.manifest.as_str()))?;
                    let difference = before.difference(&wanted);
                    let all: u64 = wanted.0.iter().map(super::manifest::Item::size).sum();
                    difference.bytes() <= all / 4 + (16 << 20)
                        && difference.laid.len() <= wanted.0.len() / 4 + 1000
                }
            }
            None => false,
        };
        if !reusable {
            let (whole, image) = lay(shared, base, source, &wanted, &laid, false).await?;
            let old = [made.whole.replace(whole.clone()), made.changed.take()];
            state.write_json(&path, &made)?;
            image.keep();
            for old in old.into_iter().flatten() {
                shared.remove_image(&old.image).await?;
            }
            return Ok(whole);
        }
    }
    let below = made.whole.as_ref().unwrap_or(base);
    let written = snapshot.is_some();
    let (changed, image) = lay(shared, below, source, &wanted, &laid, written).await?;
    let old = made.changed.replace(changed.clone());
    state.write_json(&path, &made)?;
    image.keep();
    if let Some(old) = old {
        shared.remove_image(&old.image).await?;
    }
    Ok(changed)
}

fn key(image: &str) -> String {
    blake3::hash(image.as_bytes()).to_hex()[..32].to_owned()
}

/// Gives up what was made from an image.
pub(super) async fn forget(shared: &Shared, image: &str) -> Result<()> {
    forget_key(shared, &key(image)).await
}

async fn forget_key(shared: &Shared, key: &str) -> Result<()> {
    let state = shared.state().await?;
    let path = state.sourced(key);
    if !path.exists() {
        return Ok(());
    }
    let _one_at_a_time = state.lock(&format!("sourced-{key}")).await?;
    let made: Made = state::read_json(&path)?.unwrap_or_default();
    for base in [made.whole, made.changed].into_iter().flatten() {
        shared.remove_image(&base.image).await?;
    }
    state::remove(&path)
}

/// Gives up what no machine has begun from for this long, and of the rest all but the newest.
pub(super) async fn forget_idle(shared: &Shared, long: Duration) -> Result<()> {
    let state = shared.state().await?;
    let mut idle = Vec::new();
    for key in state.names("sourced")? {
        let used = std::fs::metadata(state.sourced(&key)).and_then(|metadata| metadata.modified());
        if let Some(age) = used
            .ok()
            .and_then(|used| SystemTime::now().duration_since(used).ok())
        {
            idle.push((age, key));
        }
    }
    idle.sort();
    for (number, (age, key)) in idle.iter().enumerate() {
        if *age >= long || (number >= NEWEST && *age >= IN_USE) {
            forget_key(shared, key).await?;
        }
    }
    Ok(())
}

async fn exists(shared: &Shared, base: &Base) -> Result<bool> {
    let docker = shared.docker().await?;
    let inspected = super::engine::found(docker.inspect_image(&base.image).await);
    Ok(inspected.map_err(failed("cannot look at an image"))?.is_some())
}

/// Whether a snapshot can be used over a source.
pub(super) async fn check(
    shared: &Arc<Shared>,
    snapshot: &SnapshotId,
    mut base: Base,
    source: &Source,
) -> Result<SnapshotCheck> {
    if base.source.as_ref().map_or("empty", |laid| laid.id.as_str()) == source.id() {
        return Ok(SnapshotCheck::Usable);
    }
    let state = shared.state().await?;
    let wanted = Manifest::of(source);
    let digest = wanted.digest()?;
    let manifest = base.source.as_ref().map(|laid| laid.manifest.as_str());
    if manifest == Some(&digest) || base.usable_over.contains(&digest) {
        return Ok(SnapshotCheck::Usable);
    }
    let Ok(before) = Manifest::load(state, manifest) else {
        return Ok(SnapshotCheck::Stale(
            "nothing says any more which source its snapshot holds".into(),
        ));
    };
    let found = written::over(
        shared,
        &base.image,
        &before,
        &before.difference_of_content(&wanted),
    )
    .await?;
    if let Some(finding) = found.first() {
        return Ok(SnapshotCheck::Stale(finding.words()));
    }
    let surplus = (base.usable_over.len() + 1).saturating_sub(REMEMBERED);
    base.usable_over.drain(..surplus);
    base.usable_over.push(digest);
    state.rewrite_json(&state.snapshot(&snapshot.0), &base)?;
    Ok(SnapshotCheck::Usable)
}

/// Makes an image with a source from one with another, by what differs. Where steps have `written` above that, their
/// files stay.
async fn lay(
    shared: &Arc<Shared>,
    below: &Base,
    source: &Arc<Source>,
    wanted: &Manifest,
    laid: &Laid,
    written: bool,
) -> Result<(Base, FreshImage)> {
    let state = shared.state().await?;
    let before = Manifest::load(state, below.source.as_ref().map(|laid| laid.manifest.as_str()))?;
    let mut difference = before.difference(wanted);
    let mut base = below.clone();
    base.usable_over.clear();
    base.source = Some(laid.clone());
    if written && !below.usable_over.contains(&laid.manifest) {
        let found = written::over(shared, &below.image, &before, &difference).await?;
        let hidden: Vec<_> = found.iter().filter(|finding| finding.hides).collect();
        if !hidden.is_empty() {
            let hides = |path: &Path| hidden.iter().any(|finding| path.starts_with(&finding.path));
            difference.without(hides);
            let mut differs = before.difference_of_content(wanted);
            let all = differs.len();
            differs.without(hides);
            if differs.len() < all {
                // It holds neither source whole: nobody is to take it for one of them.
                base.source = Some(Laid {
                    id: format!("{} in part", laid.id),
                    manifest: wanted.except(&before, hides).store(state)?,
                });
            }
        }
    }
    // An engine takes such a name for the mark of a file that was removed.
    let odd = difference.laid.len();
    difference
        .laid
        .retain(|item| !item.name().starts_with(names::MARK));
    if difference.laid.len() < odd {
        shared.tell_once(
            "names in the source",
            "files of the source whose names begin with `.wh.` are left out: no image can hold them; run with the \
             sandbox if a step needs them",
        );
    }
    let newest = difference.laid.iter().map(|item| item.laid_seconds()).max();
    if difference.is_empty() {
        // Nobody may remove the image below for being out of date in this guise.
        return commit::name(shared, &base, Named::new(SOURCED)).await;
    }
    let request = ExecRequest {
        network: Network::None,
        cwd: "/".into(),
        ..ExecRequest::shell(format!("sh /{REMOVAL} && rm -f /{REMOVAL}"))
    };
    let shape = Shape::of(&request, None, Vec::new());
    let container = Container::create(shared, &below.image, &shape)
        .await?
        .ok_or_else(|| VmError::Other("an image went away while it was used; run again".into()))?;
    fill(shared, &container, source, &difference, &request).await?;
    let name = Named::new(SOURCED);
    base.image = name.image();
    let (layers, made) = commit::commit(shared, &container.id, &base, name).await?;
    base.layers = layers;
    drop(container);
    // A file that was changed a moment ago bears the next second: no step is to find it in its future.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    if let (Some(newest), Ok(now)) = (newest.and_then(|newest| u64::try_from(newest).ok()), now) {
        let ahead = Duration::from_secs(newest).saturating_sub(now);
        if ahead <= Duration::from_secs(1) {
            tokio::time::sleep(ahead).await;
        }
    }
    Ok((base, made))
}

async fn fill(
    shared: &Shared,
    container: &Arc<Container>,
    source: &Arc<Source>,
    difference: &super::manifest::Difference<'_>,
    request: &ExecRequest,
) -> Result<()> {
    let docker = shared.docker().await?;
    let items: Vec<_> = difference.laid.iter().map(|item| (*item).clone()).collect();
    let removed = difference
        .removed
        .iter()
        .map(|item| (item.bytes(), item.is_directory()));
    let removal = (!difference.removed.is_empty()).then(|| script::removal(removed));
    let removes = removal.is_some();
    let source = source.clone();
    let archive = stream::written(move |to| {
        let beside = removal.as_deref().map(|script| (REMOVAL, script));
        stream::archive(&source, &items, beside, to)
    });
    let options = UploadToContainerOptions {
        path: "/".into(),
        ..UploadToContainerOptions::default()
    };
    docker
        .upload_to_container(&container.id, Some(options), bollard::body_try_stream(archive))
        .await
        .map_err(failed("cannot lay the source into the step's container"))?;
    if !removes {
        return Ok(());
    }
    let started = match run::start(shared, container).await? {
        run::Start::Started(started) => *started,
        run::Start::NoShell(_) => {
            return Err(VmError::Setup(
                "what is no source any more cannot be removed, for there is no `sh` in the image".into(),
            ));
        }
    };
    let (sender, mut said) = tokio::sync::mpsc::channel::<hm_vm::OutputChunk>(4);
    let line = script::line(request, &[])?;
    let cancel = hm_vm::Cancel::new();
    let mut words = Vec::new();
    let heard = async {
        while let Some(chunk) = said.recv().await {
            words.extend_from_slice(&chunk.bytes);
        }
    };
    let ran = async {
        let sender = sender;
        run::drive(shared, started, &line, request, &sender, &cancel).await
    };
    let (outcome, ()) = tokio::join!(ran, heard);
    match outcome?.status.code() {
        0 => Ok(()),
        code => Err(VmError::Other(format!(
            "cannot remove what is no source any more (exit code {code}): {}",
            String::from_utf8_lossy(&words).trim()
        ))),
    }
}
