//! Making a layer stand for itself. While a step runs, the kernel notes of a renamed directory only where it was, and of
//! a file with several names only the ones that were written through: both are true above the very layers that they
//! were made on. A sealed layer is used above another source: so it gets what the notes refer to.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::merge::{self, directory_like, set_times};
use super::overlay::{self, Hiding, hiding, is_device_whiteout};
use crate::linux::sys::file_handle;
use hm_vm::{Result, VmError};

/// The second byte of an index entry's name, which is in hexadecimal.
const HANDLE_MAGIC: u8 = 0xfb;

/// Version, magic number, length, flags, type and the file system's identity.
const HANDLE_HEAD: usize = 21;

struct Part<'a> {
    upper: &'a Path,
    work: &'a Path,
    lower: Vec<PathBuf>,
    sealed: &'a Path,
}

/// A directory of the upper layer.
struct Found {
    path: PathBuf,
    /// What it merges with, as a path in the lower layers.
    lower: Option<PathBuf>,
    is_redirected: bool,
}

pub(super) fn settle(upper: &Path, work: &Path, lower: Vec<PathBuf>, sealed: &Path) -> Result<()> {
    let part = Part {
        upper,
        work,
        lower,
        sealed,
    };
    part.settle_renamed()?;
    let index = index(work)?;
    if index.is_empty() {
        return Ok(());
    }
    part.settle_linked(&index)
}

impl Part<'_> {
    /// Gives renamed directories what they show of the lower layers.
    fn settle_renamed(&self) -> Result<()> {
        let mut found = vec![Found {
            path: self.upper.to_owned(),
            lower: Some(PathBuf::new()),
            is_redirected: false,
        }];
        let mut next = 0;
        while next < found.len() {
            let below = directories_below(&found[next])?;
            found.extend(below);
            next += 1;
        }
        // Those within others first.
        for (number, directory) in found.iter().enumerate().rev() {
            if directory.is_redirected {
                self.settle_directory(directory, number)?;
            }
        }
        Ok(())
    }

    fn settle_directory(&self, directory: &Found, number: usize) -> Result<()> {
        let path = &directory.path;
        let mut sources = vec![path.clone()];
        if let Some(lower) = &directory.lower {
            sources.extend(stacked(&self.lower, lower)?);
        }
        let parent = path.parent().unwrap_or(path);
        let times = merge::read(parent)?;
        let whole = self.work.join(format!("settled-{number}"));
        merge::merge(sources, whole.clone(), true, Some(&[self.upper, self.sealed]))?;
        overlay::set_hiding(&whole, Hiding::All).map_err(VmError::io("cannot mark", &whole))?;
        super::remove::remove_tree(path)?;
        std::fs::rename(&whole, path).map_err(VmError::io("cannot rename", &whole))?;
        set_times(&times, parent)
    }

    /// Gives the other names of files that were written to by one of them the same file.
    fn settle_linked(&self, index: &HashMap<Handle, PathBuf>) -> Result<()> {
        for (root, path, handle) in self.files_with_names(index)? {
            let entry = &index[&handle];
            let inside = path.strip_prefix(root).unwrap_or(&path);
            let place = self.upper.join(inside);
            if root == self.upper {
                let is_it =
                    |one: &Metadata, other: &Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
                if is_it(&merge::read(&path)?, &merge::read(entry)?) {
                    continue;
                }
                let parent = parent_of(&place);
                let times = merge::read(parent)?;
                std::fs::remove_file(&place).map_err(VmError::io("cannot replace", &place))?;
                link(entry, &place)?;
                set_times(&times, parent)?;
            } else if self.is_seen(&path, inside)? {
                self.make_above(inside)?;
                let parent = parent_of(&place);
                let times = merge::read(parent)?;
                link(entry, &place)?;
                set_times(&times, parent)?;
            }
        }
        Ok(())
    }

    /// Files of hm's own layers that are one of those in the index: their root, their path.
    fn files_with_names(&self, index: &HashMap<Handle, PathBuf>) -> Result<Vec<(&Path, PathBuf, Handle)>> {
        let own = self.lower.iter().filter(|root| root.starts_with(self.sealed));
        let roots = std::iter::once(self.upper).chain(own.map(PathBuf::as_path));
        let mut files = Vec::new();
        for root in roots {
            let mut directories = vec![root.to_owned()];
            while let Some(directory) = directories.pop() {
                for (path, metadata) in entries(&directory)? {
                    if metadata.is_dir() {
                        directories.push(path);
                    } else if metadata.is_file()
                        && metadata.nlink() > 1
                        && let Ok((kind, bytes)) = file_handle(&path)
                        && let Some((handle, _)) = index.get_key_value(&Handle { kind, bytes })
                    {
                        files.push((root, path, handle.clone()));
                    }
                }
            }
        }
        Ok(files)
    }

    /// Whether a file of a lower layer is what a step sees under its name.
    fn is_seen(&self, file: &Path, inside: &Path) -> Result<bool> {
        let (Some(above), Some(name)) = (inside.parent(), inside.file_name()) else {
            return Ok(false);
        };
        let mut roots = vec![self.upper.to_owned()];
        roots.extend(self.lower.iter().cloned());
        let first = stacked(&roots, above)?
            .into_iter()
            .map(|directory| directory.join(name))
            .find(|path| std::fs::symlink_metadata(path).is_ok());
        Ok(first.as_deref() == Some(file))
    }

    /// Makes the directories above a file that the upper layer lacks.
    fn make_above(&self, inside: &Path) -> Result<()> {
        let mut above: Vec<_> = inside.ancestors().skip(1).collect();
        above.reverse();
        for directory in above {
            let place = self.upper.join(directory);
            if std::fs::symlink_metadata(&place).is_err()
                && let Some(like) = stacked(&self.lower, directory)?.first()
            {
                let parent = parent_of(&place);
                let times = merge::read(parent)?;
                directory_like(like, &place)?;
                set_times(&times, parent)?;
            }
        }
        Ok(())
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn link(from: &Path, to: &Path) -> Result<()> {
    std::fs::hard_link(from, to).map_err(VmError::io("cannot link", to))
}

fn directories_below(above: &Found) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let cannot = |error| VmError::io("cannot list", &above.path)(error);
    for entry in std::fs::read_dir(&above.path).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        if !entry.file_type().map_err(cannot)?.is_dir() {
            continue;
        }
        let path = entry.path();
        let cannot = |error| VmError::io("cannot read", &path)(error);
        let redirect = overlay::redirect(&path).map_err(cannot)?;
        let lower = match &redirect {
            Some(from) => match from.strip_prefix("/") {
                Ok(from) => Some(from.to_owned()),
                Err(_) => above.lower.as_ref().map(|lower| lower.join(from)),
            },
            None if hiding(&path).map_err(cannot)? == Hiding::All => None,
            None => above.lower.as_ref().map(|lower| lower.join(entry.file_name())),
        };
        found.push(Found {
            path,
            lower,
            is_redirected: redirect.is_some(),
        });
    }
    Ok(found)
}

/// The directories that make up one path of several layers, topmost first.
fn stacked(roots: &[PathBuf], path: &Path) -> Result<Vec<PathBuf>> {
    let mut stack = roots.to_vec();
    for name in path.components() {
        let mut below = Vec::new();
        for directory in &stack {
            let path = directory.join(name);
            match std::fs::symlink_metadata(&path) {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(VmError::io("cannot read", path)(error)),
                Ok(metadata) if metadata.is_dir() => {
                    let hides = hiding(&path).map_err(VmError::io("cannot read", &path))? == Hiding::All;
                    below.push(path);
                    if hides {
                        break;
                    }
                }
                // A file or a whiteout hides what lies below.
                Ok(_) => break,
            }
        }
        stack = below;
    }
    Ok(stack)
}

fn entries(directory: &Path) -> Result<Vec<(PathBuf, Metadata)>> {
    let cannot = |error| VmError::io("cannot list", directory)(error);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(cannot)? {
        let entry = entry.map_err(cannot)?;
        let metadata = entry.metadata().map_err(cannot)?;
        entries.push((entry.path(), metadata));
    }
    Ok(entries)
}

/// What the kernel calls a file, whatever its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Handle {
    kind: i32,
    bytes: Vec<u8>,
}

/// The files of lower layers with several names that were written to, and what they are now.
fn index(work: &Path) -> Result<HashMap<Handle, PathBuf>> {
    let directory = work.join("index");
    match std::fs::symlink_metadata(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashMap::new()),
        _ => {}
    }
    let files = entries(&directory)?.into_iter().filter_map(|(path, metadata)| {
        let is_entry = metadata.is_file() && !is_device_whiteout(&metadata);
        let name = path.file_name()?.to_str()?;
        is_entry
            .then(|| handle(name))
            .flatten()
            .map(|handle| (handle, path))
    });
    Ok(files.collect())
}

/// Reads the name of an index entry.
fn handle(name: &str) -> Option<Handle> {
    let digits: Vec<u8> = name
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|two| two[0] << 4 | two[1]).collect();
    let is_whole =
        bytes.len() > HANDLE_HEAD && bytes[1] == HANDLE_MAGIC && usize::from(bytes[2]) == bytes.len();
    is_whole.then(|| Handle {
        kind: i32::from(bytes[4]),
        bytes: bytes[HANDLE_HEAD..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_entry_name_is_a_handle() {
        let read = handle("00fb1d000100000000000000000000000000000000f90199006556764c").expect("a handle");
        assert_eq!(read.kind, 1);
        assert_eq!(read.bytes, [0xf9, 0x01, 0x99, 0x00, 0x65, 0x56, 0x76, 0x4c]);
        for name in [
            "",
            "#166",
            "00fb",
            "00fc1d000100000000000000000000000000000000f90199006556764c",
            "é",
        ] {
            assert_eq!(handle(name), None, "{name}");
        }
    }
}
