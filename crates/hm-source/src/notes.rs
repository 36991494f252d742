//! What a run is to know of a worktree that could not be brought in as it is there.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix_ignore::glob::Pattern;
use gix_ignore::glob::pattern::Case;
use gix_ignore::glob::wildmatch::Mode;

use super::entry::EntryKind;
use super::frozen::Source;

/// How many paths a note names.
const NAMED: usize = 5;
/// How a pointer of Git LFS begins, and how long one is at most.
const POINTER: (&[u8], u64) = (b"version https://git-lfs.github.com/spec/", 1024);
/// A longer list of attributes is not looked into.
const LONGEST: u64 = 1 << 20;

fn named(paths: impl ExactSizeIterator<Item = String>) -> String {
    let more = paths.len().saturating_sub(NAMED);
    let mut words = paths.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        words.push_str(&format!(" and {more} more"));
    }
    words
}

fn shown(path: &[u8]) -> String {
    Path::new(OsStr::from_bytes(path)).display().to_string()
}

/// Names what is no file, directory or link.
pub(super) fn special(found: &[(Vec<u8>, &'static str)]) -> Option<String> {
    let named = named(
        found
            .iter()
            .map(|(path, what)| format!("{} ({what})", shown(path))),
    );
    (!found.is_empty()).then(|| format!("the source is without what is no file: {named}"))
}

/// Names files that changed all the while they were read.
pub(super) fn torn(found: &[PathBuf]) -> Option<String> {
    let named = named(found.iter().map(|path| path.display().to_string()));
    (!found.is_empty()).then(|| {
        format!("written to all the while they were copied, and taken as they were read last: {named}")
    })
}

/// Names the files whose content Git LFS has not fetched.
pub(super) fn pointers(source: &Source) -> Option<String> {
    let attributes: Vec<(Vec<u8>, Vec<Pattern>)> = source
        .entries()
        .filter(|(path, _)| path.file_name().is_some_and(|name| name == ".gitattributes"))
        .filter_map(|(path, entry)| match entry.kind {
            EntryKind::File { size, .. } if size <= LONGEST => {
                let directory = path.parent()?.as_os_str().as_bytes().to_vec();
                Some((directory, filtered(source, path)?))
            }
            _ => None,
        })
        .filter(|(_, patterns)| !patterns.is_empty())
        .collect();
    if attributes.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    for (path, entry) in source.entries() {
        let EntryKind::File { size, .. } = entry.kind else {
            continue;
        };
        let bytes = path.as_os_str().as_bytes();
        if size <= POINTER.1 && is_filtered(&attributes, bytes) && is_pointer(source, path) {
            found.push(shown(bytes));
        }
    }
    let named = named(found.iter().cloned());
    (!found.is_empty()).then(|| {
        format!("pointers of Git LFS, whose content is not here (`git lfs pull` fetches it): {named}")
    })
}

/// The patterns of the files that a list of attributes hands to Git LFS.
fn filtered(source: &Source, path: &Path) -> Option<Vec<Pattern>> {
    let mut text = Vec::new();
    source.open(path).ok()?.read_to_end(&mut text).ok()?;
    let lines = text.split(|byte| *byte == b'\n');
    let patterns = lines.filter_map(|line| {
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let pattern = words.next()?;
        words
            .any(|word| word == b"filter=lfs")
            .then(|| Pattern::from_bytes_without_negation(pattern))?
    });
    Some(patterns.collect())
}

fn is_filtered(attributes: &[(Vec<u8>, Vec<Pattern>)], path: &[u8]) -> bool {
    attributes.iter().any(|(directory, patterns)| {
        let relative = match path.strip_prefix(directory.as_slice()) {
            Some(rest) if directory.is_empty() => rest,
            Some([b'/', rest @ ..]) => rest,
            _ => return false,
        };
        let basename = relative.iter().rposition(|byte| *byte == b'/').map(|at| at + 1);
        patterns.iter().any(|pattern| {
            pattern.matches_repo_relative_path(
                relative.into(),
                basename,
                Some(false),
                Case::Sensitive,
                Mode::NO_MATCH_SLASH_LITERAL,
            )
        })
    })
}

fn is_pointer(source: &Source, path: &Path) -> bool {
    let mut start = [0; POINTER.0.len()];
    source
        .open(path)
        .is_ok_and(|mut file| file.read_exact(&mut start).is_ok() && start == *POINTER.0)
}
