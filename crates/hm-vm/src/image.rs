//! Image references and how a name in a plan becomes an image on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Result, VmError};

/// What a step starts from, as somebody wrote it: `host`, a path to a root filesystem directory or tarball
/// (it begins with `/`, or with `./` or `../` as seen from the repository's root), or a name such as `ubuntu:24.04`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageReference(String);

impl ImageReference {
    /// The reference of this machine's own root filesystem.
    pub const HOST: &'static str = "host";

    /// A reference as written.
    pub fn new(reference: impl Into<String>) -> Self {
        Self(reference.into())
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it means this machine's own root filesystem.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.0 == Self::HOST
    }

    /// Whether it names a path on this machine rather than an image in a registry.
    #[must_use]
    pub fn is_path(&self) -> bool {
        self.0.starts_with('/') || self.0.starts_with("./") || self.0.starts_with("../")
    }
}

impl ImageReference {
    /// The reference seen from a directory: `./rootfs` is the one in there.
    #[must_use]
    pub fn seen_from(&self, directory: &Path) -> Self {
        if !self.is_path() || self.0.starts_with('/') {
            return self.clone();
        }
        let inside = self.0.strip_prefix("./").unwrap_or(&self.0);
        Self(directory.join(inside).to_string_lossy().into_owned())
    }
}

impl std::fmt::Display for ImageReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names of images and what stands in for them on this machine: `ubuntu:24.04` -> `host`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageMap(BTreeMap<ImageReference, ImageReference>);

impl ImageMap {
    /// Lets `target` stand in for `name`; a later call for the same name wins.
    pub fn insert(&mut self, name: ImageReference, target: ImageReference) {
        self.0.insert(name, target);
    }

    /// All names, and what stands in for each.
    pub fn iter(&self) -> impl Iterator<Item = (&ImageReference, &ImageReference)> {
        self.0.iter()
    }

    /// What stands in for `image`: one look-up, never a chain of them.
    #[must_use]
    pub fn resolve<'a>(&'a self, image: &'a ImageReference) -> &'a ImageReference {
        self.0.get(image).unwrap_or(image)
    }

    /// What an image that a plan names is on this machine. What stands in for it was chosen by the machine's owner and
    /// may be any path; a path of the plan's own is only what `paths` allows, with its links followed.
    ///
    /// # Errors
    /// [`VmError::ImageNotFound`] when the plan may not name that path, or there is nothing.
    pub fn of_plan(&self, image: &ImageReference, source: &Path, paths: PlanPaths) -> Result<ImageReference> {
        if let Some(target) = self.0.get(image) {
            return Ok(target.seen_from(source));
        }
        if !image.is_path() {
            return Ok(image.clone());
        }
        let found = match paths {
            PlanPaths::Never => Err("a build here may not name an image by its path".to_owned()),
            PlanPaths::WithinSource => within(source, Path::new(image.as_str())),
        };
        match found {
            Ok(path) => Ok(ImageReference::new(path)),
            Err(reason) => Err(VmError::ImageNotFound {
                image: image.clone(),
                reason,
            }),
        }
    }
}

/// Which images a plan may name by their paths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PlanPaths {
    /// Those that lie in its own source.
    #[default]
    WithinSource,
    /// None: the plan is not by whom the machine belongs to.
    Never,
}

/// The real path of an image within a source, as text.
fn within(source: &Path, path: &Path) -> Result<String, String> {
    let source = std::fs::canonicalize(source).map_err(|error| format!("{}: {error}", source.display()))?;
    let real: PathBuf = std::fs::canonicalize(source.join(path)).map_err(|error| error.to_string())?;
    // The source's root itself would have the step run on its own source.
    if real == source || !real.starts_with(&source) {
        return Err("a plan may name a path within its own source alone".into());
    }
    let kind = std::fs::metadata(&real).map_err(|error| error.to_string())?;
    if !kind.is_dir() && !kind.is_file() {
        return Err("it is neither a directory nor a file".into());
    }
    real.into_os_string()
        .into_string()
        .map_err(|_| "its real path is not UTF-8".into())
}

/// An image that is there, pinned to its content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResolvedImage {
    /// What it was resolved from.
    pub reference: ImageReference,
    /// Identifies the content; goes into cache keys.
    pub digest: String,
}

/// What an image says about how it is run, of an OCI image's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Variables, in no order.
    pub env: BTreeMap<String, String>,
    /// What [`ImageConfig::command`] begins with.
    pub entrypoint: Vec<String>,
    /// What follows the entrypoint.
    pub cmd: Vec<String>,
    /// Who its own command runs as: a name or a number, and perhaps `:` and a group.
    pub user: Option<String>,
    /// Where its own command runs.
    pub working_dir: Option<String>,
}

impl ImageConfig {
    /// The image's own command; empty when it has none.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.cmd).cloned().collect()
    }
}

/// An image that a backend keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// What it is called; nothing when only its digest is known.
    pub references: Vec<String>,
    /// Its digest, as in [`ResolvedImage::digest`].
    pub digest: String,
    /// Such as `linux/amd64`.
    pub platform: String,
    /// Bytes of all its layers; layers that it shares with others are counted in each.
    pub bytes: u64,
    /// How many layers it has.
    pub layers: usize,
    /// When something was started from it last, where that is known.
    pub used: Option<std::time::SystemTime>,
}

/// The images that a backend keeps.
#[async_trait::async_trait]
pub trait Images: Send + Sync {
    /// All of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn list(&self) -> crate::Result<Vec<StoredImage>>;

    /// Fetches an image, or finds that the one that is there is the current one.
    ///
    /// # Errors
    /// [`crate::VmError::ImageNotFound`] says what would help.
    async fn pull(&self, image: &ImageReference) -> crate::Result<ResolvedImage>;

    /// Takes an image from an OCI layout, a `docker save` archive or a root filesystem (a directory or a tarball), and
    /// calls it `name`.
    ///
    /// # Errors
    /// When it is none of these, damaged or hostile; nothing is stored then.
    async fn import(&self, path: &Path, name: &ImageReference) -> crate::Result<ResolvedImage>;

    /// Removes an image by a name or a digest, and returns how many bytes of real blocks that freed.
    ///
    /// # Errors
    /// When there is none, or it is in use.
    async fn remove(&self, image: &str) -> crate::Result<u64>;

    /// What all of them take up: bytes of real blocks, each layer once.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn usage(&self) -> crate::Result<u64>;

    /// Removes the images used longest ago until all of them take up at most `max_bytes`, and returns how many bytes
    /// that freed. An image in use stays.
    ///
    /// # Errors
    /// When one is there and cannot be removed.
    async fn collect(&self, max_bytes: u64) -> crate::Result<u64>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_image_path_stays_within_source() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = dir.path().join("source");
        std::fs::create_dir_all(source.join("image/etc")).expect("a directory");
        std::fs::create_dir(dir.path().join("outside")).expect("a directory");
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, source.join(name)).expect("a link");
        };
        link("image", "inside");
        link("../outside", "out");
        link("..", "up");
        link("loop", "loop");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            source.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .expect("a pipe");
        let absolute = |path: &str| source.join(path).to_string_lossy().into_owned();
        let map = ImageMap::default();
        let found = |name: &str, paths| {
            let image = map.of_plan(&ImageReference::new(name), &source, paths);
            image.ok().map(|image| image.as_str().to_owned())
        };
        let image = source.canonicalize().expect("a path").join("image");
        let image = image.to_str();
        for name in ["./image", "./inside", "./image/../image", &absolute("image")] {
            assert_eq!(found(name, PlanPaths::WithinSource).as_deref(), image, "{name}");
            assert_eq!(found(name, PlanPaths::Never), None, "{name}");
        }
        let outside = dir.path().join("outside").to_string_lossy().into_owned();
        for name in [
            "./out",
            "./up",
            "./up/outside",
            "../outside",
            "./../outside",
            "./image/../../outside",
            "./.",
            "./",
            "../source",
            "./loop",
            "./pipe",
            "./none",
            "/",
            "/etc",
            "/proc/self/root",
            &outside,
        ] {
            assert_eq!(found(name, PlanPaths::WithinSource), None, "{name}");
        }
        for name in ["host", "ubuntu:24.04"] {
            assert_eq!(found(name, PlanPaths::Never).as_deref(), Some(name));
        }
        let mut map = ImageMap::default();
        map.insert(ImageReference::new("ubuntu"), ImageReference::new(&outside));
        let image = map.of_plan(&ImageReference::new("ubuntu"), &source, PlanPaths::Never);
        assert_eq!(image.expect("the owner's").as_str(), outside);
    }

    #[test]
    fn a_relative_path_is_seen_from_a_directory() {
        for (written, seen) in [
            ("./rootfs.tar", "/repo/rootfs.tar"),
            ("../rootfs", "/repo/../rootfs"),
            ("/rootfs", "/rootfs"),
            ("host", "host"),
            ("ubuntu:24.04", "ubuntu:24.04"),
            (".hidden/name", ".hidden/name"),
        ] {
            let reference = ImageReference::new(written).seen_from(Path::new("/repo"));
            assert_eq!(reference.as_str(), seen, "{written}");
        }
    }
}
