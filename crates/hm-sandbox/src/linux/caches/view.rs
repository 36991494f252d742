//! What one command sees of its cache directories.

use std::path::{Path, PathBuf};

use super::generation::{Leased, Locked, current};
use super::store::CacheStore;
use crate::linux::layers::LiveLayer;
use hm_vm::{CacheKeep, CacheMount, ExecOutcome, Result, VmError};

/// A command's views of its cache directories. Dropping them throws away what it wrote.
#[derive(Debug)]
pub(in crate::linux) struct CacheViews {
    /// With a part for each view.
    live: LiveLayer,
    views: Vec<View>,
}

#[derive(Debug)]
struct View {
    directory: PathBuf,
    mounted_on: PathBuf,
    part: String,
    keep: CacheKeep,
    generation: Option<Leased>,
}

/// Where a view is mounted, and from what.
#[derive(Debug)]
pub(in crate::linux) struct CacheOverlay<'a> {
    pub target: &'a Path,
    /// Nothing for a cache directory that is empty yet.
    pub lower: Option<&'a Path>,
    pub upper: PathBuf,
    pub work: PathBuf,
}

impl CacheStore {
    /// A view of each cache directory as it is now.
    pub(in crate::linux) fn begin(&self, mounts: &[CacheMount]) -> Result<CacheViews> {
        let mut views = Vec::new();
        for (number, mount) in mounts.iter().enumerate() {
            check_place(mount)?;
            let directory = self.directory(&mount.name)?;
            let locked = Locked::shared(&directory)?;
            locked.touch();
            views.push(View {
                generation: locked.current()?,
                directory,
                mounted_on: mount.path.clone(),
                part: number.to_string(),
                keep: mount.keep,
            });
        }
        let parts: Vec<_> = views.iter().map(|view| view.part.clone()).collect();
        let mut live = self.layers.begin(&parts)?;
        for view in &views {
            let lower = view
                .generation
                .as_ref()
                .map(|generation| generation.files.clone());
            live.lies_above(&view.part, lower.into_iter().collect());
        }
        Ok(CacheViews { live, views })
    }

    /// The command has ended so. What it wrote is kept where that says so.
    pub(in crate::linux) fn end(&self, ended: CacheViews, outcome: &ExecOutcome) -> Result<()> {
        let CacheViews { live, views } = ended;
        let mut ended = Ok(());
        for view in views {
            let written = live.upper(&view.part);
            let used = view.generation.as_ref().map(|generation| generation.id.clone());
            // So that the generation can go when nobody else uses it.
            drop(view.generation);
            if view.keep.keeps(outcome) && !is_empty(&written) {
                let settled = live.settle(&view.part);
                ended = ended.and(settled.and_then(|()| self.keep(&view.directory, written)));
            } else if used.is_some() && used != current(&view.directory) {
                // The lock would make a directory anew that was removed.
                if view.directory.exists() {
                    ended = ended.and(Locked::exclusive(&view.directory)?.tidy(&self.layers));
                }
            }
        }
        self.layers.discard(live).and(ended)
    }

    fn keep(&self, directory: &Path, written: PathBuf) -> Result<()> {
        let locked = Locked::exclusive(directory)?;
        locked.advance(&self.layers, written)?;
        locked.tidy(&self.layers)
    }
}

impl CacheViews {
    pub(in crate::linux) fn overlays(&self) -> impl Iterator<Item = CacheOverlay<'_>> {
        self.views.iter().map(|view| CacheOverlay {
            target: &view.mounted_on,
            lower: view
                .generation
                .as_ref()
                .map(|generation| generation.files.as_path()),
            upper: self.live.upper(&view.part),
            work: self.live.work(&view.part),
        })
    }
}

/// Whether nothing was written. A directory that cannot be looked into counts as written to.
fn is_empty(upper: &Path) -> bool {
    std::fs::read_dir(upper).is_ok_and(|mut entries| entries.next().is_none())
}

/// Refuses places where a cache directory would hide what a step lives on.
fn check_place(mount: &CacheMount) -> Result<()> {
    const KERNELS: &[&str] = &["/proc", "/sys", "/dev", hm_vm::SECRETS_DIR];
    let path = &mount.path;
    let in_home = path
        .strip_prefix("~")
        .is_ok_and(|inside| !inside.as_os_str().is_empty());
    let plain = path
        .components()
        .all(|part| part != std::path::Component::ParentDir);
    let hides = Path::new(hm_vm::WORKSPACE).starts_with(path);
    let kernels = KERNELS.iter().any(|kernels| path.starts_with(kernels));
    if plain && (in_home || path.is_absolute()) && !hides && !kernels {
        return Ok(());
    }
    Err(VmError::Setup(format!(
        "the cache directory {} cannot lie at {}: that is no place of its own in a step",
        mount.name,
        path.display()
    )))
}
