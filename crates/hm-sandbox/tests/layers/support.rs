//! A store, sources, and steps that write through a real overlay.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use hm_fs::Marks;
use hm_sandbox::layers::{DirectFileOps, LayerChain, LayerStore, LiveLayer, WORKSPACE_PART};
use hm_source::{Source, SourceOptions, SourceStore};
use hm_vm::{ImageReference, ResolvedImage, SnapshotId};

pub struct World {
    /// First, so that nothing writes to the directory any more when that is removed.
    pub store: LayerStore,
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let store = open(dir.path());
        fs::create_dir(dir.path().join("image")).expect("image");
        fs::create_dir(dir.path().join("merged")).expect("mount point");
        fs::create_dir(dir.path().join("worktree")).expect("worktree");
        Self { store, dir }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("sandbox")
    }

    pub fn worktree(&self, path: &str) -> PathBuf {
        self.dir.path().join("worktree").join(path)
    }

    /// Writes a file of the worktree.
    pub fn write(&self, path: &str, content: &str) {
        write(&self.worktree(path), content);
    }

    pub fn freeze(&self) -> Source {
        let store = SourceStore::new(self.dir.path().join("sources"));
        store
            .freeze(&self.worktree(""), &SourceOptions::default())
            .expect("freeze")
    }

    /// Runs `step` where the workspace is mounted and seals what it wrote.
    pub fn step(
        &self,
        base: &LayerChain,
        source: &Source,
        step: impl FnOnce(&Path),
    ) -> (SnapshotId, LayerChain) {
        let mut live = self.store.begin(&parts()).expect("begin");
        live.lies_above(WORKSPACE_PART, self.lower(base, source));
        self.in_workspace(base, source, Some(&live), step);
        self.store.seal(live, base, source).expect("seal")
    }

    /// What a step on this chain sees.
    pub fn tree(&self, chain: &LayerChain, source: &Source) -> Tree {
        let mut seen = Tree::new();
        let live = self.store.begin(&parts()).expect("begin");
        self.in_workspace(chain, source, Some(&live), |workspace| seen = tree(workspace));
        seen
    }

    fn lower(&self, base: &LayerChain, source: &Source) -> Vec<PathBuf> {
        let mut lower = base.lower_dirs(WORKSPACE_PART);
        lower.extend(source.layers().iter().cloned());
        lower.push(self.dir.path().join("image"));
        lower
    }

    fn in_workspace(
        &self,
        base: &LayerChain,
        source: &Source,
        live: Option<&LiveLayer>,
        step: impl FnOnce(&Path),
    ) {
        let lower = self.lower(base, source);
        let lower: Vec<_> = lower.iter().map(|dir| dir.display().to_string()).collect();
        let mut options = format!("{},lowerdir={}", Marks::of_process().options(), lower.join(":"));
        if let Some(live) = live {
            let (upper, work) = (live.upper(WORKSPACE_PART), live.work(WORKSPACE_PART));
            options += &format!(
                ",volatile,upperdir={},workdir={}",
                upper.display(),
                work.display()
            );
        }
        let mounted = Mounted::new(&self.dir.path().join("merged"), &options);
        step(&mounted.path);
    }
}

/// An overlay that a process of its own holds in a mount namespace of its own. A mount of this namespace would be copied
/// by whoever makes a mount namespace meanwhile, an engine for instance, and kept in use for as long as that lives.
struct Mounted {
    holder: Child,
    /// The merged directory, through the holder's root.
    path: PathBuf,
}

impl Mounted {
    fn new(at: &Path, options: &str) -> Self {
        let script = "mount -t overlay -o \"$1\" overlay \"$2\" && echo mounted && exec cat";
        let mut holder = Command::new("unshare")
            .args(["-m", "sh", "-c", script, "sh", options])
            .arg(at)
            // The newer system calls take no option as long as a deep chain's.
            .env("LIBMOUNT_FORCE_MOUNT2", "always")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let output = holder.stdout.as_mut().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "mounted\n", "{options}");
        let root = PathBuf::from(format!("/proc/{}/root", holder.id()));
        let path = root.join(at.strip_prefix("/").expect("an absolute path"));
        Self { holder, path }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

pub fn open(data: &Path) -> LayerStore {
    LayerStore::open(&data.join("sandbox"), Arc::new(DirectFileOps)).expect("store")
}

pub fn parts() -> Vec<String> {
    vec!["@".to_owned(), WORKSPACE_PART.to_owned()]
}

pub fn image() -> LayerChain {
    LayerChain::new(ResolvedImage {
        reference: ImageReference::new("host"),
        digest: "d".into(),
    })
}

pub fn can_mount() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("parent")).expect("directories");
    fs::write(path, content).expect("file");
}

/// Every path with its kind and mode and what it holds.
pub type Tree = BTreeMap<PathBuf, (u32, String)>;

pub fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("list") {
            let entry = entry.expect("entry");
            let metadata = entry.metadata().expect("metadata");
            let content = if metadata.is_dir() {
                directories.push(entry.path());
                String::new()
            } else if metadata.is_symlink() {
                fs::read_link(entry.path()).expect("link").display().to_string()
            } else {
                fs::read_to_string(entry.path()).expect("content")
            };
            let path = entry.path().strip_prefix(root).expect("below").to_owned();
            tree.insert(path, (metadata.permissions().mode(), content));
        }
    }
    tree
}

/// Bytes of real blocks below the layers, each inode once.
pub fn blocks(root: &Path) -> u64 {
    let mut seen = std::collections::BTreeMap::new();
    let mut directories: Vec<_> = children(root);
    while let Some(path) = directories.pop() {
        for child in children(&path) {
            let metadata = child.symlink_metadata().expect("metadata");
            // The store's own files about a layer are not what a step wrote.
            seen.insert((metadata.dev(), metadata.ino()), metadata.blocks() * 512);
            if metadata.is_dir() {
                directories.push(child);
            }
        }
    }
    seen.values().sum()
}

pub fn children(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .map(|entries| entries.map(|entry| entry.expect("entry").path()).collect())
        .unwrap_or_default()
}
