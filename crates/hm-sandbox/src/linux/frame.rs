//! The frame: what hm lays over an image before any layer. Mount points, name resolution, and, over the
//! host's own root, whiteouts where credentials are.
//!
//! It is a directory with one sub-directory per overlay (named as in [`super::layers`]), named by what it is
//! made from, built once and shared by all runs.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode};

use super::layers::part_name;
use super::protocol::RESOLVER;
use hm_fs::Marks;
use hm_vm::{Result, VmError, WORKSPACE};

/// One thing in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Directory(u32),
    /// A directory without what the layers below have in it.
    Opaque(u32),
    File(String),
    Copy(Original),
    Symlink(PathBuf),
    Whiteout,
}

/// A file of the host that a frame has a copy of. Whoever changes the original changes this.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Original {
    path: PathBuf,
    mode: u32,
    size: u64,
    modified: (i64, i64),
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
}

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl FramePlan {
    /// One without anything in it.
    pub(super) fn bare(mounts: &[PathBuf]) -> Self {
        Self {
            mounts: mounts.to_vec(),
            parts: BTreeMap::new(),
        }
    }

    /// What every image needs: mount points and the usual empty directories. `mounts` are the overlays that are
    /// mounted below the one at `/`.
    pub(super) fn new(mounts: &[PathBuf]) -> Self {
        let mut plan = Self::bare(mounts);
        for (path, mode) in [
            ("/dev", 0o755),
            ("/home", 0o755),
            ("/proc", 0o555),
            ("/root", 0o700),
            ("/run", 0o755),
            (hm_vm::SECRETS_DIR, 0o755),
            ("/sys", 0o555),
            ("/tmp", 0o1777),
            (WORKSPACE, 0o755),
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

    /// A copy of a file of the host, where the original is. One that is gone by then is left out.
    pub(super) fn copy(&mut self, path: impl AsRef<Path>, metadata: &Metadata) {
        self.copy_from(path.as_ref(), &path, metadata);
    }

    /// A copy of a file of the host.
    pub(super) fn copy_from(&mut self, from: &Path, path: impl AsRef<Path>, metadata: &Metadata) {
        let original = Original {
            path: from.to_owned(),
            mode: metadata.mode() & 0o777,
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        };
        self.item(path.as_ref(), Item::Copy(original));
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
            // What is hidden is hidden but for what is put there.
            let item = part.entry(above.to_owned()).or_insert(Item::Directory(0o755));
            if *item == Item::Whiteout {
                *item = Item::Opaque(0o755);
            }
        }
        part.insert(inside.to_owned(), item);
    }

    fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{:?}{:?}", Marks::of_process(), self.parts).as_bytes());
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// Finds the frame under `frames`, or builds it there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn build(self, frames: &Path) -> Result<Frame> {
        let name = self.digest();
        let directory = frames.join(&name);
        if directory.symlink_metadata().is_ok() && !self.is_whole(&directory) {
            // Something damaged it: it hides what steps must not see, so it is made anew.
            let _ = hm_fs::remove_any(&directory);
        }
        Frame::find_or_write(frames, &name, || self)
    }

    /// Whether a frame on the disk is as it was written.
    fn is_whole(&self, directory: &Path) -> bool {
        let items = self.parts.iter().flat_map(|(part, items)| {
            let root = directory.join(part);
            items.iter().map(move |(path, item)| (root.join(path), item))
        });
        let mut items = items.map(|(path, item)| {
            let Ok(metadata) = std::fs::symlink_metadata(&path) else {
                // One that was gone by then was left out.
                return matches!(item, Item::Copy(original) if File::open(&original.path).is_err());
            };
            match item {
                Item::Directory(mode) | Item::Opaque(mode) => {
                    metadata.is_dir() && metadata.mode() & 0o7777 == *mode
                }
                Item::File(text) => {
                    metadata.is_file() && std::fs::read(&path).is_ok_and(|there| there == text.as_bytes())
                }
                Item::Copy(original) => metadata.is_file() && metadata.len() == original.size,
                Item::Symlink(target) => std::fs::read_link(&path).is_ok_and(|there| there == *target),
                Item::Whiteout => FileType::from_raw_mode(metadata.mode()) == FileType::CharacterDevice,
            }
        });
        items.all(|whole| whole)
    }

    fn write(&self, to: &Path) -> io::Result<()> {
        for (part, items) in &self.parts {
            let root = to.join(part);
            hm_fs::create_private(to)?;
            std::fs::create_dir(&root)?;
            std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755))?;
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
                        rustix::fs::setxattr(&path, Marks::of_process().opaque(), b"y", flags)?;
                    }
                    Item::File(text) => {
                        std::fs::write(&path, text)?;
                        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
                    }
                    Item::Copy(original) => original.copy(&path)?,
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

impl Original {
    fn copy(&self, to: &Path) -> io::Result<()> {
        let open = File::open(&self.path);
        let Ok(mut from) = open else { return Ok(()) };
        let mut file = File::create_new(to)?;
        io::copy(&mut from, &mut file)?;
        file.set_permissions(std::fs::Permissions::from_mode(self.mode))?;
        file.set_modified(from.metadata()?.modified()?)
    }
}

impl Frame {
    /// The frame of that name, which stands for all that it is planned from; planned only when it is not there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn find_or_write(frames: &Path, name: &str, plan: impl FnOnce() -> FramePlan) -> Result<Self> {
        let directory = frames.join(name);
        if !in_use(&directory) {
            let temporary = frames.join(format!(".{}", uuid::Uuid::new_v4().simple()));
            plan()
                .write(&temporary)
                .map_err(VmError::io("cannot write", &temporary))?;
            match std::fs::rename(&temporary, &directory) {
                Ok(()) => {}
                Err(_) if !directory.is_dir() && directory.symlink_metadata().is_ok() => {
                    hm_fs::rename_over_any(&temporary, &directory)
                        .map_err(VmError::io("cannot write", &directory))?;
                }
                // Another process was quicker.
                Err(_) if directory.is_dir() => {
                    std::fs::remove_dir_all(&temporary).map_err(VmError::io("cannot remove", &temporary))?;
                }
                Err(error) => return Err(VmError::io("cannot write", &directory)(error)),
            }
            remove_unused(frames);
        }
        Ok(Self { directory })
    }

    /// The frame's directory for the overlay at a mount point.
    pub(super) fn part(&self, mount: &Path) -> Option<PathBuf> {
        let part = part_name(mount);
        let directory = self.directory.join(part);
        directory.is_dir().then_some(directory)
    }
}

/// Whether a frame is there. The time of its directory says when it was last used, to the day.
fn in_use(directory: &Path) -> bool {
    let Ok(metadata) = std::fs::metadata(directory) else {
        return false;
    };
    let old = |modified: SystemTime| modified.elapsed().is_ok_and(|age| age > A_DAY);
    if metadata.modified().is_ok_and(old) {
        // A frame that is not marked is built anew one day.
        let _ = File::open(directory).and_then(|file| file.set_modified(SystemTime::now()));
    }
    metadata.is_dir()
}

/// Removes frames that nobody used for a month: of a host as it was once.
fn remove_unused(frames: &Path) {
    for entry in std::fs::read_dir(frames).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > UNUSED)) {
            // What is left of it is found again by the next frame.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
