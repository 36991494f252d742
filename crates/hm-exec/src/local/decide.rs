//! Decides, before anything runs, which steps are cache hits and which must run, and why.

use hm_pipeline_ir::{Base, KeyInputs, KeyParts, PipelineGraph, StepIndex};
use hm_vm::{SnapshotCheck, SnapshotId};

use super::run::Run;
use super::select::Role;
use super::watched::Watched;
use crate::Result;

/// What is to become of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Its snapshot is there.
    Hit(SnapshotId),
    /// An earlier run left this snapshot, which its key need not stand for: the source may have changed since.
    Resumed(SnapshotId),
    /// Its snapshot is gone, and everything that builds in it is there.
    Unneeded,
    /// It runs; the words say why a step with a cache policy has to.
    Run(Option<String>),
    /// It takes no part.
    Skip(String),
}

/// A step's identity and what is to become of it.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    pub(super) decision: Decision,
    /// The components of its cache key, where anybody needs them.
    pub(super) parts: Option<KeyParts>,
}

/// Decides for every step, by index. Starts no machine.
pub(super) async fn decide(run: &Run) -> Result<Vec<Decided>> {
    let graph = run.graph();
    let mut decided: Vec<Decided> = identities(run)
        .into_iter()
        .map(|parts| Decided {
            decision: Decision::Unneeded,
            parts,
        })
        .collect();
    // Children first: a step that only others build in is looked at only when one of them must run.
    for step in graph.topological().iter().rev() {
        let parts = decided[step.as_usize()].parts.clone();
        let children = graph.children(*step);
        let needed = children
            .iter()
            .any(|child| matches!(decided[child.as_usize()].decision, Decision::Run(_)));
        let role = run.selection.roles[step.as_usize()];
        let decision = match role {
            Role::Outside => Decision::Skip(run.selection.outside.clone()),
            Role::Ground if !needed => Decision::Skip(run.selection.outside.clone()),
            Role::Forced => Decision::Run(None),
            Role::Ground | Role::Wanted => one(run, *step, parts.as_ref()).await?,
        };
        let covered = !children.is_empty()
            && children.iter().all(|child| {
                matches!(
                    decided[child.as_usize()].decision,
                    Decision::Hit(_) | Decision::Resumed(_) | Decision::Unneeded
                )
            });
        let gone = covered
            && matches!(decision, Decision::Run(_))
            && role == Role::Wanted
            && !run.request.options.no_cache
            && graph.step(*step).cache.is_cacheable()
            // Whoever wants its artifacts has to be given them.
            && graph.step(*step).artifacts.is_empty();
        decided[step.as_usize()].decision = if gone { Decision::Unneeded } else { decision };
    }
    Ok(decided)
}

async fn one(run: &Run, index: StepIndex, parts: Option<&KeyParts>) -> Result<Decision> {
    let step = run.graph().step(index);
    let resumed = run.request.options.resume.as_ref();
    if let Some(done) = resumed.and_then(|resume| resume.done.get(step.key.as_str())) {
        let snapshot = SnapshotId(done.0.clone());
        if run.snapshots.pin(&snapshot)? && usable(run, index, &snapshot).await?.is_ok() {
            let key = parts.filter(|_| step.cache.is_cacheable()).map(KeyParts::key);
            let stands = key.map(|key| run.snapshots.find(&key.to_string())).transpose()?;
            return Ok(if stands.flatten().as_ref() == Some(&snapshot) {
                Decision::Hit(snapshot)
            } else {
                Decision::Resumed(snapshot)
            });
        }
    }
    let Some(parts) = parts.filter(|_| step.cache.is_cacheable()) else {
        return Ok(Decision::Run(None));
    };
    if run.request.options.no_cache {
        return Ok(Decision::Run(Some("--no-cache".into())));
    }
    let Some(snapshot) = run.snapshots.find(&parts.key().to_string())? else {
        let image = |before: &KeyParts| {
            let image = run.images.get(&run.image_name(step))?;
            let was = |digest: &str| before.starts_from(image.name.as_str(), digest);
            run.vm.image_changes(&image.resolved, &was)
        };
        let why = run
            .snapshots
            .why(&run.slot(step), parts, run.views.of(index), image)?;
        return Ok(Decision::Run(Some(why)));
    };
    let usable = usable(run, index, &snapshot)
        .await?
        .and_then(|()| match run.collector(index) {
            Some(collector) => collector.check(&snapshot),
            None => Ok(()),
        });
    Ok(match usable {
        Ok(()) => Decision::Hit(snapshot),
        Err(why) => Decision::Run(Some(why)),
    })
}

async fn usable(run: &Run, index: StepIndex, snapshot: &SnapshotId) -> Result<Result<(), String>> {
    Ok(match run.vm.check(snapshot, run.views.of(index)).await? {
        SnapshotCheck::Usable => Ok(()),
        SnapshotCheck::Missing => Err("its snapshot was evicted".into()),
        SnapshotCheck::Stale(why) => Err(why),
    })
}

/// The key components of every step that has a policy, or that such a step descends from.
fn identities(run: &Run) -> Vec<Option<KeyParts>> {
    let graph = run.graph();
    let needed = needed(run, graph);
    let mut parts: Vec<Option<KeyParts>> = vec![None; graph.len()];
    let mut keys = vec![None; graph.len()];
    let service_images = run.service_images();
    let mut watched = Watched::new(run.views.plain());
    for index in graph.topological() {
        if !needed[index.as_usize()] {
            continue;
        }
        let step = graph.step(*index);
        let base = match graph.parent(*index) {
            Some(parent) => keys[parent.as_usize()].map(Base::Parent),
            None => run.images.get(&run.image_name(step)).map(|image| Base::Image {
                reference: image.name.as_str(),
                digest: &image.resolved.digest,
            }),
        };
        let Some(base) = base else { continue };
        let inputs = KeyInputs {
            step,
            base,
            run_env: &run.request.env,
            source: run.views.digest(*index),
            watched: watched.digest(&step.cache),
            services: &graph.services(*index),
            service_images: &service_images,
        };
        let found = inputs.cache_key();
        keys[index.as_usize()] = Some(found.key());
        parts[index.as_usize()] = Some(found);
    }
    parts
}

fn needed(run: &Run, graph: &PipelineGraph) -> Vec<bool> {
    let mut needed = vec![false; graph.len()];
    let resumed = run.request.options.resume.as_ref();
    for index in graph.topological().iter().rev() {
        let step = graph.step(*index);
        needed[index.as_usize()] = step.cache.is_cacheable()
            || resumed.is_some_and(|resume| resume.done.contains_key(step.key.as_str()))
            || graph
                .children(*index)
                .iter()
                .any(|child| needed[child.as_usize()]);
    }
    needed
}
