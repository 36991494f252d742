//! Collects a step's artifacts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use hm_pipeline_ir::CollectWhen;
use hm_vm::{Export, Exported, SnapshotId, Vm, VmError};
use uuid::Uuid;

use super::list::{Listed, listed, taker};
use super::store::{Artifact, ArtifactStore, read_up_to};
use super::{MAX_FILES, junit};
use crate::local::scrub::Scrubber;

/// How many files that were left out are named.
const NAMED: usize = 3;

/// Collects the artifacts of one step of one run.
#[derive(Debug, Clone)]
pub(in crate::local) struct Collector {
    pub(in crate::local) store: ArtifactStore,
    pub(in crate::local) run_id: Uuid,
    pub(in crate::local) step: String,
    pub(in crate::local) wanted: Vec<hm_pipeline_ir::Artifacts>,
    /// The most bytes that one entry of `wanted` keeps, unless it says so itself.
    pub(in crate::local) max_bytes: u64,
    /// Whose snapshots the step leaves.
    pub(in crate::local) backend: String,
    pub(in crate::local) scrubber: Scrubber,
}

/// What was collected.
#[derive(Debug, Default)]
pub(in crate::local) struct Collected {
    pub(in crate::local) artifacts: Vec<Artifact>,
    /// What a person should know about it.
    pub(in crate::local) notes: Vec<String>,
    /// Some of it could not be collected: nothing may stand in for the step later.
    pub(in crate::local) failed: bool,
}

impl Collector {
    /// Copies files out of a machine whose command has ended. What cannot be collected fails no step: it is told.
    pub(in crate::local) async fn collect(&self, vm: &dyn Vm, passed: bool) -> Collected {
        let mut collected = Collected::default();
        if let Err(error) = self.try_collect(vm, passed, &mut collected).await {
            collected.failed = true;
            collected
                .notes
                .push(format!("its artifacts could not be collected: {error}"));
        }
        collected
    }

    async fn try_collect(&self, vm: &dyn Vm, passed: bool, collected: &mut Collected) -> Result<(), VmError> {
        let wanted = self.wanted.iter().filter(|wanted| match wanted.when {
            CollectWhen::Always => true,
            CollectWhen::Passed => passed,
            CollectWhen::Failed => !passed,
        });
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        let begun = blocking(move || Ok((store.adding()?, store.temporary()?))).await?;
        let (adding, temporary) = begun;
        let mut exported = Vec::new();
        for (at, wanted) in wanted.iter().enumerate() {
            let into = temporary.join(at.to_string());
            fs::create_dir(&into).map_err(VmError::io("cannot create", &into))?;
            let export = Export {
                patterns: wanted.paths.clone(),
                max_bytes: wanted.max_bytes.unwrap_or(self.max_bytes),
                max_files: MAX_FILES,
            };
            let copied = vm.export(&export, &into).await?;
            collected.notes.extend(unmatched(&export.patterns, &copied));
            collected.notes.extend(left_out(&copied));
            exported.push((into, copied));
        }
        let this = self.clone();
        let artifacts = blocking(move || {
            let kept = this.keep(&exported);
            let _ = fs::remove_dir_all(&temporary);
            let artifacts = kept?;
            this.store.list(this.run_id, &artifacts)?;
            drop(adding);
            Ok(artifacts)
        })
        .await?;
        collected.artifacts = artifacts;
        Ok(())
    }

    /// Takes the copies over. A file that two entries name is one artifact.
    fn keep(&self, exported: &[(PathBuf, Exported)]) -> Result<Vec<Artifact>, VmError> {
        let mut artifacts = Vec::new();
        let mut seen = BTreeSet::new();
        for (into, copied) in exported {
            for file in &copied.files {
                let is_below = file
                    .path
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)));
                if !is_below || !seen.insert(&file.path) {
                    continue;
                }
                artifacts.push(self.one(&into.join(&file.path), &file.path)?);
            }
        }
        Ok(artifacts)
    }

    fn one(&self, copy: &Path, path: &Path) -> Result<Artifact, VmError> {
        let metadata = fs::symlink_metadata(copy).map_err(VmError::io("cannot read", copy))?;
        let is_report = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("xml"));
        let tests = if is_report {
            let text = read_up_to(copy, junit::LARGEST).map_err(VmError::io("cannot read", copy))?;
            text.and_then(|text| junit::summary(&text, |name| self.scrubber.text(name).into_owned()))
        } else {
            None
        };
        Ok(Artifact {
            step: self.step.clone(),
            path: self.scrubber.text(&path.to_string_lossy()).into_owned(),
            bytes: metadata.len(),
            executable: metadata.permissions().mode() & 0o111 != 0,
            digest: self.store.take(copy)?,
            tests,
        })
    }

    /// Lets the artifacts be listed again when the snapshot stands in for the step.
    pub(in crate::local) async fn remember(&self, snapshot: &SnapshotId, collected: Collected) {
        if collected.failed {
            return;
        }
        let (this, snapshot) = (self.clone(), snapshot.clone());
        let remembered = blocking(move || {
            this.store
                .remember(&this.backend, &snapshot, &collected.artifacts)
        })
        .await;
        if let Err(error) = remembered {
            tracing::warn!(step = self.step, %error, "a step's artifacts cannot be listed again, and so it will run again");
        }
    }

    /// What an event says of artifacts of the step.
    pub(in crate::local) fn listed(&self, artifacts: &[Artifact]) -> Listed {
        let patterns = self.wanted.iter().flat_map(|wanted| &wanted.paths);
        let patterns: Vec<_> = patterns.map(String::as_str).collect();
        listed(artifacts, &patterns)
    }

    /// Whether the artifacts of the step that made a snapshot can be listed again.
    ///
    /// # Errors
    /// Why not, in plain words.
    pub(in crate::local) fn check(&self, snapshot: &SnapshotId) -> Result<(), String> {
        self.store.recall(&self.backend, snapshot).map(drop)
    }

    /// The artifacts of the step that made a snapshot, listed as this run's too.
    pub(in crate::local) fn recall(&self, snapshot: &SnapshotId) -> Result<Vec<Artifact>, String> {
        let mut artifacts = self.store.recall(&self.backend, snapshot)?;
        for artifact in &mut artifacts {
            // The step may have been called otherwise then.
            artifact.step.clone_from(&self.step);
        }
        let listed = self
            .store
            .adding()
            .and_then(|_adding| self.store.list(self.run_id, &artifacts));
        listed.map_err(|error| error.to_string())?;
        Ok(artifacts)
    }
}

fn unmatched(patterns: &[String], copied: &Exported) -> Option<String> {
    let paths = || {
        let left_out = copied.left_out.iter().map(|(path, _)| path);
        copied.files.iter().map(|file| &file.path).chain(left_out)
    };
    let idle: Vec<String> = patterns
        .iter()
        .filter(|pattern| {
            let takes = taker(pattern);
            !paths().any(|path| takes(path))
        })
        .map(|pattern| format!("`{pattern}`"))
        .collect();
    (!idle.is_empty()).then(|| format!("there is no file for its artifacts {}", idle.join(", ")))
}

fn left_out(copied: &Exported) -> Option<String> {
    let named: Vec<String> = copied
        .left_out
        .iter()
        .take(NAMED)
        .map(|(path, why)| format!("{} ({why})", path.display()))
        .collect();
    let more = copied.left_out.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    (!named.is_empty()).then(|| format!("left out of its artifacts: {}{more}", named.join(", ")))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VmError> + Send + 'static,
) -> Result<T, VmError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(VmError::Other(format!(
            "the task that keeps artifacts ended: {error}"
        ))),
    }
}
