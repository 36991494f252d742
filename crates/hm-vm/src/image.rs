//! Image references and how a name in a plan becomes an image on this machine.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

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

    /// What stands in for `image`: one look-up, never a chain of them.
    #[must_use]
    pub fn resolve<'a>(&'a self, image: &'a ImageReference) -> &'a ImageReference {
        self.0.get(image).unwrap_or(image)
    }
}

/// An image that is there, pinned to its content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResolvedImage {
    /// What it was resolved from.
    pub reference: ImageReference,
    /// Identifies the content; goes into cache keys.
    pub digest: String,
}

#[cfg(test)]
mod tests {
    use super::*;

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
