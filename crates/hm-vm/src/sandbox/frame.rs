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
    mounts: Vec<PathBuf>,
    parts: BTreeMap<String, BTreeMap<PathBuf, Item>>,
}

/// A frame on disk.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    directory: PathBuf,
    parts: Vec<String>,
}

impl FramePlan {
    /// What every image needs: mount points and the usual empty directories. `mounts` are the overlays that are
    /// mounted below the one at `/`.
    pub(super) fn new(mounts: &[PathBuf]) -> Self {
        let mut plan = Self {
            mounts: mounts.to_vec(),
            parts: BTreeMap::new(),
        };
        for (path, mode) in [
            ("/dev", 0o755),
            ("/home", 0o755),
            ("/proc", 0o555),
            ("/root", 0o700),
            ("/run", 0o755),
            ("/sys", 0o555),
            ("/tmp", 0o1777),
            ("/workspace", 0o755),
        ] {
            plan.directory(path, mode);
        }
        plan
    }

    /// Name resolution.
    pub(super) fn resolver(&mut self) {
        self.file("/etc/resolv.conf", format!("nameserver {RESOLVER}\n"));
        self.file(
            "/etc/hosts",
            "127.0.0.1 localhost hm\n::1 localhost ip6-localhost ip6-loopback\n".into(),
        );
        self.file("/etc/hostname", "hm\n".into());
    }

    /// A directory; those above it get mode 755 unless they are there already.
    pub(super) fn directory(&mut self, path: impl AsRef<Path>, mode: u32) {
        self.item(path.as_ref(), Item::Directory(mode));
    }

    /// A directory that hides what the layers below have in its place.
    pub(super) fn opaque(&mut self, path: impl AsRef<Path>, mode: u32) {
        self.item(path.as_ref(), Item::Opaque(mode));
    }

    /// A directory to mount on, as it is when it is there already.
    pub(super) fn mount_point(&mut self, path: impl AsRef<Path>) {
        let (part, inside) = self.place(path.as_ref());
        if !self
            .parts
            .get(&part)
            .is_some_and(|part| part.contains_key(inside))
        {
            self.directory(path, 0o755);
        }
    }

    /// The directory that an overlay below `/` is mounted on.
    pub(super) fn mount_on(&mut self, mount: &Path) {
        let part = self.parts.entry(part_name(Path::new("/"))).or_default();
        part.insert(
            mount.strip_prefix("/").unwrap_or(mount).to_owned(),
            Item::Directory(0o755),
        );
    }

    pub(super) fn symlink(&mut self, path: impl AsRef<Path>, target: impl Into<PathBuf>) {
        self.item(path.as_ref(), Item::Symlink(target.into()));
    }

    pub(super) fn file(&mut self, path: impl AsRef<Path>, text: String) {
        self.item(path.as_ref(), Item::File(text));
    }

    /// Hides a path of the layers below.
    pub(super) fn whiteout(&mut self, path: impl AsRef<Path>) {
        self.item(path.as_ref(), Item::Whiteout);
    }

    /// The overlay that shows a path, by the name of its part, and where in it.
    fn place<'a>(&self, path: &'a Path) -> (String, &'a Path) {
        let mount = self.mounts.iter().find(|mount| path.starts_with(mount));
        let mount = mount.map_or(Path::new("/"), PathBuf::as_path);
        (part_name(mount), path.strip_prefix(mount).unwrap_or(path))
    }

    fn item(&mut self, path: &Path, item: Item) {
        let (part, inside) = self.place(path);
        // The root of an overlay is the mount point itself.
        if inside.as_os_str().is_empty() {
            return;
        }
        let part = self.parts.entry(part).or_default();
        for above in inside
            .ancestors()
            .skip(1)
            .filter(|above| !above.as_os_str().is_empty())
        {
            match part.entry(above.to_owned()).or_insert(Item::Directory(0o755)) {
                // What is hidden is hidden but for what is put there.
                hidden @ Item::Whiteout => *hidden = Item::Opaque(0o755),
                _ => {}
            }
        }
        part.insert(inside.to_owned(), item);
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
