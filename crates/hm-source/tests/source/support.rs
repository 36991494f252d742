//! Worktrees in a temporary directory, and what their frozen layers amount to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hm_source::{Source, SourceOptions, SourceStore};

/// One path as a step would see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    File {
        content: Vec<u8>,
        mode: u32,
        mtime: (i64, i64),
    },
    Link {
        target: PathBuf,
        mtime: (i64, i64),
    },
    Directory {
        mode: u32,
    },
}

pub type Content = BTreeMap<PathBuf, Node>;

fn node(path: &Path) -> Option<Node> {
    let metadata = path.symlink_metadata().unwrap();
    let mtime = (metadata.mtime(), metadata.mtime_nsec());
    let mode = metadata.mode() & 0o7777;
    let kind = metadata.file_type();
    if kind.is_dir() {
        Some(Node::Directory { mode: mode | 0o700 })
    } else if kind.is_symlink() {
        Some(Node::Link {
            target: fs::read_link(path).unwrap(),
            mtime,
        })
    } else if kind.is_file() {
        Some(Node::File {
            content: fs::read(path).unwrap(),
            mode,
            mtime,
        })
    } else {
        None
    }
}

fn is_whiteout(path: &Path) -> bool {
    let metadata = path.symlink_metadata().unwrap();
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

/// What all layers amount to, by overlayfs's rules.
pub fn flattened(source: &Source) -> Content {
    let mut content = Content::new();
    for layer in source.layers().iter().rev() {
        apply(layer, layer, &mut content);
    }
    content
}

fn apply(layer: &Path, directory: &Path, content: &mut Content) {
    for path in children(directory) {
        let relative = path.strip_prefix(layer).unwrap().to_owned();
        let hide = |content: &mut Content| content.retain(|known, _| !known.starts_with(&relative));
        if is_whiteout(&path) {
            assert!(
                content.contains_key(&relative),
                "a whiteout over nothing: {relative:?}"
            );
            hide(content);
            continue;
        }
        let found = node(&path).unwrap();
        let merges = matches!(
            (&found, content.get(&relative)),
            (Node::Directory { .. }, Some(Node::Directory { .. }))
        );
        if !merges {
            hide(content);
        }
        let is_directory = matches!(found, Node::Directory { .. });
        content.insert(relative, found);
        if is_directory {
            apply(layer, &path, content);
        }
    }
}

/// What lies in a directory, without what `leave_out` names.
pub fn listed(root: &Path, leave_out: &dyn Fn(&Path) -> bool) -> Content {
    let mut content = Content::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for path in children(&directory) {
            let relative = path.strip_prefix(root).unwrap().to_owned();
            if leave_out(&relative) {
                continue;
            }
            let Some(found) = node(&path) else { continue };
            if matches!(found, Node::Directory { .. }) {
                open.push(path);
            }
            content.insert(relative, found);
        }
    }
    content
}

/// Every path's whole metadata but the access time.
pub fn stats(root: &Path) -> Vec<(PathBuf, Vec<i64>)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let m = path.symlink_metadata().unwrap();
        if m.is_dir() {
            open.extend(children(&path));
        }
        let numbers = vec![
            m.ino() as i64,
            i64::from(m.mode()),
            m.nlink() as i64,
            m.size() as i64,
            m.mtime(),
            m.mtime_nsec(),
            m.ctime(),
            m.ctime_nsec(),
        ];
        found.push((path, numbers));
    }
    found.sort();
    found
}

/// A worktree and a store, side by side.
pub struct Fixture {
    pub directory: tempfile::TempDir,
    pub store: SourceStore,
    pub worktree: PathBuf,
}

impl Fixture {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let worktree = directory.path().join("worktree");
        fs::create_dir(&worktree).unwrap();
        Self {
            store: SourceStore::new(directory.path().join("sources")),
            worktree,
            directory,
        }
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.worktree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.worktree.join(path)).unwrap();
    }

    pub fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.worktree.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn freeze(&self) -> Source {
        self.store
            .freeze(&self.worktree, &SourceOptions::default())
            .unwrap()
    }

    pub fn git(&self, arguments: &[&str]) {
        let status = std::process::Command::new("git")
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@example.org",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .current_dir(&self.worktree)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// The store's directories, one for each worktree that it has frozen.
    pub fn trees(&self) -> Vec<PathBuf> {
        fs::read_dir(self.store.root().join("trees"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    /// Everything but `.git`, as it lies there now.
    pub fn expected(&self) -> Content {
        listed(&self.worktree, &|path| path.ends_with(".git"))
    }
}

/// The paths of a source, as text.
pub fn paths(source: &Source) -> Vec<String> {
    source
        .entries()
        .map(|(path, _)| path.to_string_lossy().into_owned())
        .collect()
}

/// Lets the kernel's clock move on, so that what was written before is older than the next freeze.
pub fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(45));
}
