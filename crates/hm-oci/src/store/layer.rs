//! Layers on disk: found, made ready, measured.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::hex;
use super::unpack::Unpacked;
use super::{ImageStore, files};
use hm_fs::Marks;
use hm_vm::{Result, VmError};

/// What came of unpacking a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacking {
    /// What the archive had in it.
    pub unpacked: Unpacked,
    /// Bytes of real blocks that the directory takes up.
    pub blocks: u64,
    /// The boot of the machine that it was unpacked in, until it has surely reached the disk.
    pub boot: Option<String>,
}

impl Unpacking {
    /// Of a layer that was just unpacked.
    #[must_use]
    pub fn new(unpacked: Unpacked, blocks: u64) -> Self {
        Self {
            unpacked,
            blocks,
            boot: Some(boot()),
        }
    }

    /// Writes it where the store looks for it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, report: &Path) -> Result<()> {
        files::write(report, self)
    }
}

/// Names have to be short: the options of one mount name all layers of an image, and have one page of room.
const SHORT: usize = 10;
const LONG: usize = 22;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

/// Names this boot of the machine.
pub(super) fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// A short name for a layer: the first letters of its digest, six bits each.
fn short(diff_id: &str, length: usize) -> String {
    let digits = hex(diff_id).bytes().map(|digit| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => digit.wrapping_sub(b'a').wrapping_add(10) & 15,
    });
    let bits = digits.flat_map(|digit| (0..4).rev().map(move |bit| digit >> bit & 1));
    let bits: Vec<u8> = bits.take(length * 6).collect();
    let letters = bits
        .chunks(6)
        .map(|six| six.iter().fold(0, |number, bit| number << 1 | usize::from(*bit)));
    letters.map(|letter| char::from(ALPHABET[letter & 63])).collect()
}

impl ImageStore {
    pub(super) fn layer_dir(&self, name: &str) -> PathBuf {
        self.root().join("l").join(name)
    }

    pub(super) fn report_path(&self, name: &str) -> PathBuf {
        self.root().join("layers").join(format!("{name}.json"))
    }

    pub(super) fn layer_lock_path(&self, name: &str) -> PathBuf {
        self.root().join("layers").join(format!("{name}.lock"))
    }

    /// The name of a layer, and what is known of it when it is here.
    pub(super) fn layer(&self, diff_id: &str) -> Result<(String, Option<Unpacking>)> {
        let mut name = short(diff_id, SHORT);
        for length in SHORT..=LONG {
            name = short(diff_id, length);
            match files::read::<Unpacking>(&self.report_path(&name))? {
                // Somebody made a layer whose digest begins alike.
                Some(report) if report.unpacked.diff_id != diff_id => {}
                Some(report) if self.is_here(&name, &report) => return Ok((name, Some(report))),
                _ => return Ok((name, None)),
            }
        }
        Ok((name, None))
    }

    fn is_here(&self, name: &str, report: &Unpacking) -> bool {
        let survived = report.boot.as_ref().is_none_or(|booted| *booted == boot());
        let fits = report.unpacked.trusted_marks || Marks::of_process() == Marks::User;
        survived && fits && self.layer_dir(name).is_dir()
    }

    /// Whether all layers of an image are here.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has(&self, digest: &str) -> Result<bool> {
        let Some(record) = self.record(digest)? else {
            return Ok(false);
        };
        for layer in &record.layers {
            if self.layer(&layer.diff_id)?.1.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The directories of an image that is here, topmost first.
    pub(super) fn stack(&self, diff_ids: impl DoubleEndedIterator<Item = String>) -> Result<Vec<PathBuf>> {
        let mut stack = Vec::new();
        for diff_id in diff_ids.rev() {
            let (name, Some(report)) = self.layer(&diff_id)? else {
                return Err(VmError::Other(format!("layer {diff_id} went away; try again")));
            };
            let directory = self.layer_dir(&name);
            // An overlay takes a directory once, and what lies below its like is hidden by it.
            if !stack.contains(&directory) {
                stack.push(directory);
            }
            if report.unpacked.opaque {
                break;
            }
        }
        Ok(stack)
    }

    /// Flushes layers to the disk, so that a power loss does not make them be unpacked again. Slow.
    pub(super) fn sync(&self, diff_ids: &[String]) -> Result<()> {
        let mut unsynced = Vec::new();
        for diff_id in diff_ids {
            if let (name, Some(report)) = self.layer(diff_id)?
                && report.boot.is_some()
            {
                unsynced.push((name, report));
            }
        }
        if unsynced.is_empty() {
            return Ok(());
        }
        let root = std::fs::File::open(self.root()).map_err(VmError::io("cannot open", self.root()))?;
        rustix::fs::syncfs(&root).map_err(|errno| VmError::io("cannot flush", self.root())(errno.into()))?;
        for (name, report) in unsynced {
            let _shared = self.lock_shared()?;
            if self.layer_dir(&name).is_dir() {
                files::write(&self.report_path(&name), &Unpacking { boot: None, ..report })?;
            }
        }
        Ok(())
    }

    /// Removes a tree, wherever that has to be done, and returns the bytes of real blocks that are free now.
    pub(super) fn remove_tree(&self, path: PathBuf) -> Result<u64> {
        self.files().remove_tree(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_begins_a_longer_one() {
        let diff_id = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let name = short(&diff_id, SHORT);
        assert_eq!(name.len(), SHORT);
        assert!(short(&diff_id, LONG).starts_with(&name));
        assert_eq!(short(&diff_id, LONG).len(), LONG);
        assert_ne!(name, short(&format!("sha256:1{}", &diff_id[8..]), SHORT));
        assert!(name.bytes().all(|letter| ALPHABET.contains(&letter)));
    }
}
