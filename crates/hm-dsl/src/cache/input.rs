//! One thing that a plan was made from.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;

/// What was read of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Read {
    /// A file's bytes.
    Bytes,
    /// The names in a directory.
    Names,
    /// Whether it is there, and as what.
    Kind,
    /// Size, times and mode.
    Stat,
}

/// A path, what was read of it, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Input {
    path: PathBuf,
    read: Read,
    /// What the file system said; `None` when there was nothing.
    stamp: Option<Stamp>,
    /// What was read, where that is more than the stamp.
    found: String,
}

impl Input {
    /// Looks at `path` as it is now.
    ///
    /// # Errors
    /// The reason why it cannot be checked later.
    pub(crate) fn new(path: &str, read: Read, began: SystemTime) -> Result<Self, String> {
        let path = PathBuf::from(path);
        let stamp = fs::metadata(&path).ok().map(|meta| Stamp::of(&meta));
        if read != Read::Kind && stamp.is_some_and(|stamp| stamp.changed_since(began)) {
            return Err(format!("{} changed while it was read", path.display()));
        }
        let found = observe(&path, read)?;
        Ok(Self {
            path,
            read,
            stamp,
            found,
        })
    }

    /// Whether the same would be read today. A stamp that has become stale is renewed, which is told by
    /// `restamped`.
    pub(crate) fn holds(&mut self, settled: SystemTime, restamped: &mut bool) -> bool {
        let stamp = fs::metadata(&self.path).ok().map(|meta| Stamp::of(&meta));
        let same = match (self.read, stamp, self.stamp) {
            (Read::Stat, Some(now), Some(then)) => return now.looks_like(&then),
            (Read::Stat, now, then) => return now.is_none() && then.is_none(),
            (Read::Kind, ..) => return observe(&self.path, self.read).is_ok_and(|found| found == self.found),
            (Read::Bytes | Read::Names, now, then) => now == then,
        };
        if same {
            return true;
        }
        if observe(&self.path, self.read).is_ok_and(|found| found == self.found) {
            // Another change within the clock's granularity would not show in a stamp that is this young.
            if stamp.is_some_and(|stamp| !stamp.changed_since(settled)) {
                self.stamp = stamp;
                *restamped = true;
            }
            return true;
        }
        false
    }
}

/// Reads it: a text that is the same as long as the author would read the same.
fn observe(path: &Path, read: Read) -> Result<String, String> {
    let refuse = |e: io::Error| format!("{} cannot be read: {e}", path.display());
    match read {
        Read::Stat => Ok(String::new()),
        Read::Kind => Ok(kinds(path)),
        Read::Bytes => match fs::metadata(path) {
            Ok(meta) if meta.is_file() => {
                let mut hasher = blake3::Hasher::new();
                let file = File::open(path).map_err(refuse)?;
                hasher.update_reader(file).map_err(refuse)?;
                Ok(hasher.finalize().to_hex().to_string())
            }
            Ok(meta) if meta.is_dir() => Ok(kind(&meta).to_owned()),
            Ok(_) => Err(format!("{} is not a file", path.display())),
            Err(_) => Ok("absent".to_owned()),
        },
        Read::Names => match fs::read_dir(path) {
            Ok(entries) => {
                let mut names: Vec<(OsString, &str)> = Vec::new();
                for entry in entries {
                    let entry = entry.map_err(refuse)?;
                    let kind = entry.file_type().map_or("unknown", |kind| {
                        if kind.is_dir() {
                            "dir"
                        } else if kind.is_symlink() {
                            "link"
                        } else {
                            "file"
                        }
                    });
                    names.push((entry.file_name(), kind));
                }
                names.sort();
                let mut hasher = blake3::Hasher::new();
                for (name, kind) in names {
                    hasher
                        .update(name.as_encoded_bytes())
                        .update(b"\0")
                        .update(kind.as_bytes())
                        .update(b"\0");
                }
                Ok(hasher.finalize().to_hex().to_string())
            }
            Err(_) => Ok("absent".to_owned()),
        },
    }
}

fn kinds(path: &Path) -> String {
    let own = fs::symlink_metadata(path);
    let target = own
        .as_ref()
        .is_ok_and(Metadata::is_symlink)
        .then(|| fs::read_link(path).unwrap_or_default());
    let seen = fs::metadata(path).map_or("absent", |meta| kind(&meta));
    match (own, target) {
        (Err(_), _) => "absent".to_owned(),
        (Ok(_), Some(target)) => format!("link to {} ({seen})", target.display()),
        (Ok(_), None) => seen.to_owned(),
    }
}

fn kind(meta: &Metadata) -> &'static str {
    if meta.is_dir() {
        "dir"
    } else if meta.is_file() {
        "file"
    } else {
        "other"
    }
}
