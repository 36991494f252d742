//! Where a log's files are.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::BuildId;

/// A build's directory. The last two digits spread the builds of one moment over 256 directories.
pub(super) fn directory(root: &Path, build: BuildId) -> PathBuf {
    let name = build.to_string();
    root.join(&name[name.len() - 2..]).join(name)
}

pub(super) fn segment(directory: &Path, first: u64) -> PathBuf {
    directory.join(format!("{first:020}.jsonl"))
}

/// The first numbers of all segments, in order.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut firsts = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let first = name
            .to_str()
            .and_then(|name| name.strip_suffix(".jsonl")?.parse::<u64>().ok());
        firsts.extend(first);
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// How many whole lines a segment has, and how many bytes they take. Where a NUL is, a file system lost what was
/// written before a power cut; what stands behind it was acknowledged to nobody.
pub(super) fn measure(path: &Path) -> io::Result<(u64, u64)> {
    let mut lines = BufReader::with_capacity(1 << 16, File::open(path)?);
    let (mut count, mut whole, mut open) = (0, 0, 0);
    loop {
        let bytes = lines.fill_buf()?;
        if bytes.is_empty() {
            return Ok((count, whole));
        }
        for byte in bytes {
            open += 1;
            match byte {
                b'\n' => {
                    count += 1;
                    whole += std::mem::take(&mut open);
                }
                0 => return Ok((count, whole)),
                _ => {}
            }
        }
        let read = bytes.len();
        lines.consume(read);
    }
}
