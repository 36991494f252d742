//! The frame: what hm lays over an image before any layer. Mount points, name resolution, and, over the
//! host's own root, whiteouts where credentials are.
//!
//! It is a directory with one sub-directory per overlay (named as in [`super::layers`]), content-addressed,
//! built once and shared by all runs.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};

use super::layers::part_name;
use super::supervisor::RESOLVER;
use crate::{Result, VmError};

/// One thing in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Directory(u32),
    /// A directory without what the layers below have in it.
    Opaque(u32),
    File(String),
    Symlink(PathBuf),
    Whiteout,
}

/// A frame in the making: part -> path within it -> what is there.
#[derive(Debug, Default)]
pub(super) struct FramePlan {
    parts: BTreeMap<String, BTreeMap<PathBuf, Item>>,
}

/// A frame on disk.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    directory: PathBuf,
    parts: Vec<String>,
}

impl FramePlan {
    /// What every image needs: mount points and the usual empty directories.
    pub(super) fn new() -> Self {
        let mut plan = Self::default();
        for (path, mode) in [
            ("dev", 0o755),
            ("etc", 0o755),
            ("home", 0o755),
            ("proc", 0o555),
            ("root", 0o700),
            ("run", 0o755),
            ("sys", 0o555),
            ("tmp", 0o1777),
            ("workspace", 0o755),
        ] {
            plan.directory(Path::new("/"), Path::new(path), mode);
        }
        plan
    }

    /// Name resolution, in the overlay at `mount` that holds /etc.
    pub(super) fn resolver(&mut self, mount: &Path) {
        let etc = if mount == Path::new("/") {
            Path::new("etc")
        } else {
            Path::new("")
        };
        let mut file = |name: &str, text: String| self.item(mount, &etc.join(name), Item::File(text));
        file("resolv.conf", format!("nameserver {RESOLVER}\n"));
        file(
            "hosts",
            "127.0.0.1 localhost hm\n::1 localhost ip6-localhost ip6-loopback\n".into(),
        );
        file("hostname", "hm\n".into());
    }

    /// A directory; those above it get mode 755 unless they are there already.
    pub(super) fn directory(&mut self, mount: &Path, path: &Path, mode: u32) {
        self.item(mount, path, Item::Directory(mode));
    }

    /// A directory that hides what the layers below have in its place.
    pub(super) fn opaque(&mut self, mount: &Path, path: &Path, mode: u32) {
        self.item(mount, path, Item::Opaque(mode));
    }

    /// A directory to mount on, as it is when it is there already.
    pub(super) fn mount_point(&mut self, mount: &Path, path: &Path) {
        let part = self.parts.get(&part_name(mount));
        if !part.is_some_and(|part| part.contains_key(path)) {
            self.directory(mount, path, 0o755);
        }
    }

    pub(super) fn symlink(&mut self, mount: &Path, path: &Path, target: PathBuf) {
        self.item(mount, path, Item::Symlink(target));
    }

    pub(super) fn file(&mut self, mount: &Path, path: &Path, text: String) {
        self.item(mount, path, Item::File(text));
    }

    /// Hides a path of the layers below.
    pub(super) fn whiteout(&mut self, mount: &Path, path: &Path) {
        self.item(mount, path, Item::Whiteout);
    }

    fn item(&mut self, mount: &Path, path: &Path, item: Item) {
        let part = self.parts.entry(part_name(mount)).or_default();
        for above in path
            .ancestors()
            .skip(1)
            .filter(|above| !above.as_os_str().is_empty())
        {
            part.entry(above.to_owned()).or_insert(Item::Directory(0o755));
        }
        part.insert(path.to_owned(), item);
    }

    fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{:?}", self.parts).as_bytes());
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// Finds the frame under `frames`, or builds it there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn build(&self, frames: &Path) -> Result<Frame> {
        let directory = frames.join(self.digest());
        let parts = self.parts.keys().cloned().collect();
        if !directory.is_dir() {
            let temporary = frames.join(format!(".{}", uuid::Uuid::new_v4().simple()));
            self.write(&temporary)
                .map_err(VmError::io("cannot write", &temporary))?;
            match std::fs::rename(&temporary, &directory) {
                Ok(()) => {}
                // Another process was quicker.
                Err(_) if directory.is_dir() => {
                    std::fs::remove_dir_all(&temporary).map_err(VmError::io("cannot remove", &temporary))?;
                }
                Err(error) => return Err(VmError::io("cannot write", &directory)(error)),
            }
        }
        Ok(Frame { directory, parts })
    }

    fn write(&self, to: &Path) -> io::Result<()> {
        for (part, items) in &self.parts {
            let root = to.join(part);
            std::fs::create_dir_all(&root)?;
            for (path, item) in items {
                let path = root.join(path);
                match item {
                    Item::Directory(mode) => {
                        std::fs::create_dir(&path)?;
                        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode))?;
                    }
                    Item::Opaque(mode) => {
                        std::fs::create_dir(&path)?;
                        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode))?;
                        let flags = rustix::fs::XattrFlags::empty();
                        rustix::fs::setxattr(&path, "user.overlay.opaque", b"y", flags)?;
                    }
                    Item::File(text) => {
                        std::fs::write(&path, text)?;
                        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
                    }
                    Item::Symlink(target) => std::os::unix::fs::symlink(target, &path)?,
                    Item::Whiteout => {
                        rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Frame {
    /// The frame's directory for the overlay at a mount point.
    pub(super) fn part(&self, mount: &Path) -> Option<PathBuf> {
        let part = part_name(mount);
        self.parts.contains(&part).then(|| self.directory.join(part))
    }
}
