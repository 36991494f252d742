//! Which paths git tracks: a file that was added in spite of `.gitignore` belongs to the tree.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// The paths of git's index, in its order: by bytes.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    bytes: Vec<u8>,
    paths: Vec<Range<usize>>,
}

impl Tracked {
    /// Reads an index. One that is not there, or is of a kind not known here (version 4, SHA-256), tracks
    /// nothing: ignored files are then left out.
    pub fn read(file: &Path) -> Self {
        let bytes = fs::read(file).unwrap_or_default();
        let paths = paths(&bytes).unwrap_or_default();
        Self { bytes, paths }
    }

    fn path(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// Whether this very path is tracked.
    pub fn has(&self, path: &[u8]) -> bool {
        self.paths
            .binary_search_by(|range| self.path(range).cmp(path))
            .is_ok()
    }

    /// Whether anything below this directory is tracked.
    pub fn has_below(&self, directory: &[u8]) -> bool {
        let mut prefix = directory.to_vec();
        prefix.push(b'/');
        let first = self
            .paths
            .partition_point(|range| self.path(range) < prefix.as_slice());
        self.paths
            .get(first)
            .is_some_and(|range| self.path(range).starts_with(&prefix))
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Where the paths lie: each behind 62 bytes of what git knows of it, padded to a multiple of eight.
fn paths(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    if bytes.get(..4)? != b"DIRC" || !matches!(number(bytes, 4)?, 2 | 3) {
        return None;
    }
    let count = number(bytes, 8)?;
    let mut paths = Vec::new();
    let mut at = 12;
    for _ in 0..count {
        let is_extended = bytes.get(at + 60)? & 0x40 != 0;
        let start = at + if is_extended { 64 } else { 62 };
        let len = bytes.get(start..)?.iter().position(|byte| *byte == 0)?;
        paths.push(start..start + len);
        at += (start + len - at) / 8 * 8 + 8;
    }
    Some(paths)
}
