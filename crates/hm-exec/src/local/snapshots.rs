//! What a run asks of the snapshot registry: finding, pinning, recording, and why there is nothing to find.

use std::sync::{Mutex, PoisonError};

use hm_pipeline_ir::KeyParts;
use hm_snapshots::{Lease, Registry, SnapshotOrigin};
use hm_source::Source;
use hm_vm::{Result, SnapshotId};

/// The registry under one run's lease: what the run uses stays for as long as this lives.
#[derive(Debug)]
pub(super) struct Snapshots {
    registry: Registry,
    lease: Lease,
    used: Mutex<Vec<SnapshotId>>,
}

/// A snapshot that a step has left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) snapshot: SnapshotId,
    /// Where the step passed and has a policy: what the snapshot stands for from now on.
    pub(super) stands_for: Option<KeyParts>,
    /// Where that is remembered for the next run's explanations.
    pub(super) slot: String,
    /// The step.
    pub(super) origin: SnapshotOrigin,
}

impl Snapshots {
    pub(super) fn open(registry: Registry) -> Result<Self> {
        let lease = registry.lease()?;
        Ok(Self {
            registry,
            lease,
            used: Mutex::default(),
        })
    }

    pub(super) const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The snapshot that stands for a key, pinned for this run.
    pub(super) fn find(&self, key: &str) -> Result<Option<SnapshotId>> {
        match self.registry.lookup(key)? {
            Some(snapshot) if self.pin(&snapshot)? => Ok(Some(snapshot)),
            _ => Ok(None),
        }
    }

    /// Pins a snapshot for this run; false when it is gone.
    pub(super) fn pin(&self, snapshot: &SnapshotId) -> Result<bool> {
        let there = self.lease.pin(snapshot)?;
        if there {
            self.uses(snapshot);
        }
        Ok(there)
    }

    /// Registers what a step has left.
    pub(super) fn keep(&self, left: &Left) -> Result<()> {
        self.lease.adopt_from(&left.snapshot, Some(&left.origin))?;
        self.uses(&left.snapshot);
        if let Some(parts) = &left.stands_for {
            self.registry.record(&parts.key().to_string(), &left.snapshot)?;
            if let Ok(value) = serde_json::to_value(parts) {
                self.registry.remember(&left.slot, &value)?;
            }
        }
        Ok(())
    }

    /// Why nothing stands for these key components, in plain words. `image` says what changed in the step's image since
    /// it had these components.
    pub(super) fn why(
        &self,
        slot: &str,
        parts: &KeyParts,
        source: &Source,
        image: impl Fn(&KeyParts) -> Option<String>,
    ) -> Result<String> {
        let before = self.registry.recall(slot)?;
        let Some(before) = before.and_then(|value| serde_json::from_value::<KeyParts>(value).ok()) else {
            return Ok("no earlier pass is known".into());
        };
        let mut changed: Vec<String> = parts
            .diff(&before)
            .into_iter()
            .map(|part| match part {
                "image" => image(&before).unwrap_or_else(|| words(part, source)),
                part => words(part, source),
            })
            .collect();
        // The plan's key and the watched files change together, and are neighbours.
        changed.dedup();
        if changed.is_empty() {
            return Ok("its snapshot was evicted".into());
        }
        Ok(changed.join(", "))
    }

    /// Says of everything that this run used that it was used now.
    pub(super) fn touch(&self) -> Result<()> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.registry.touch_all(&used)
    }

    fn uses(&self, snapshot: &SnapshotId) {
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(snapshot.clone());
    }
}

fn words(part: &str, source: &Source) -> String {
    match part {
        "format" => "this hm makes cache keys in another way".into(),
        "cache.key" | "watched" => "what its cache policy watches changed".into(),
        "policy" => "cache policy changed".into(),
        "source" => match source.changed() {
            [] => "source changed".into(),
            [only] => format!("source changed: {}", only.display()),
            [first, more @ ..] => format!("source changed: {} (+{} more)", first.display(), more.len()),
        },
        other => format!("{other} changed"),
    }
}
