//! What `on_change` watches, as the frozen source has it.
//!
//! The plan's own key holds what its author's files were when the plan was written. A plan that is run later,
//! from a file or by a rerun, would find the snapshot of files that have changed since; this digest would not.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobMatcher};
use hm_pipeline_ir::CachePolicy;
use hm_vm::source::{Entry, EntryKind, Source};

/// Digests of patterns, each computed once a run.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    source: &'a Source,
    known: HashMap<String, blake3::Hash>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            source,
            known: HashMap::new(),
        }
    }

    /// The digest of all that a policy watches; `None` where it watches nothing.
    pub(super) fn digest(&mut self, policy: &CachePolicy) -> Option<[u8; 32]> {
        let mut patterns = Vec::new();
        collect(policy, &mut patterns);
        patterns.sort_unstable();
        patterns.dedup();
        if patterns.is_empty() {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        for pattern in patterns {
            let source = self.source;
            let found = self
                .known
                .entry(pattern.to_owned())
                .or_insert_with(|| one(source, pattern));
            hasher.update(found.as_bytes());
        }
        Some(*hasher.finalize().as_bytes())
    }
}

/// Recursive, but no deeper than a plan may nest.
fn collect<'p>(policy: &'p CachePolicy, patterns: &mut Vec<&'p str>) {
    match policy {
        CachePolicy::OnChange { paths, .. } => patterns.extend(paths.iter().map(String::as_str)),
        CachePolicy::Compose { policies, .. } => policies.iter().for_each(|part| collect(part, patterns)),
        _ => {}
    }
}

fn one(source: &Source, pattern: &str) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let segments: Vec<&str> = pattern
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    let literal = segments
        .iter()
        .take_while(|part| !part.contains(['*', '?', '[']))
        .count();
    let base: PathBuf = segments[..literal].iter().collect();
    let globs: Vec<Segment> = segments[literal..]
        .iter()
        .map(|part| Segment::new(part))
        .collect();
    if globs.is_empty() {
        match source.get(&base) {
            Some(entry) if entry.kind != EntryKind::Directory => fold(&mut hasher, &base, &entry),
            _ => {
                hasher.update(&source.subtree_digest(&base).unwrap_or_default());
            }
        }
        return hasher.finalize();
    }
    for (path, entry) in source
        .entries()
        .filter(|(_, entry)| entry.kind != EntryKind::Directory)
    {
        let Ok(rest) = path.strip_prefix(&base) else {
            continue;
        };
        let names: Vec<&Path> = rest.iter().map(Path::new).collect();
        if matches(&globs, &names) {
            fold(&mut hasher, path, &entry);
        }
    }
    hasher.finalize()
}

fn fold(hasher: &mut blake3::Hasher, path: &Path, entry: &Entry) {
    let name = path.as_os_str().as_encoded_bytes();
    hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
    match &entry.kind {
        EntryKind::File { digest, .. } => hasher.update(b"file").update(digest),
        EntryKind::Symlink { target } => {
            let target = blake3::hash(target.as_os_str().as_encoded_bytes());
            hasher.update(b"link").update(target.as_bytes())
        }
        EntryKind::Directory => hasher.update(b"directory"),
    };
}

/// One part of a pattern, between slashes.
enum Segment {
    /// `**`: any number of directories.
    Any,
    Glob(GlobMatcher),
    /// What is no pattern after all.
    Text(String),
}

impl Segment {
    fn new(part: &str) -> Self {
        if part == "**" {
            return Self::Any;
        }
        Glob::new(part).map_or_else(
            |_| Self::Text(part.to_owned()),
            |glob| Self::Glob(glob.compile_matcher()),
        )
    }

    fn takes(&self, name: &Path) -> bool {
        match self {
            Self::Any => true,
            Self::Glob(glob) => glob.is_match(name),
            Self::Text(text) => Path::new(text) == name,
        }
    }
}

/// Whether a pattern matches a path, or a directory above it: a directory stands for all that is in it.
fn matches(globs: &[Segment], names: &[&Path]) -> bool {
    let Some((first, rest)) = globs.split_first() else {
        return true;
    };
    if let Segment::Any = first {
        return rest.is_empty() || (0..=names.len()).any(|skipped| matches(rest, &names[skipped..]));
    }
    names
        .split_first()
        .is_some_and(|(name, below)| first.takes(name) && matches(rest, below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, path: &str) -> bool {
        let globs: Vec<Segment> = pattern.split('/').map(Segment::new).collect();
        let names: Vec<&Path> = Path::new(path).iter().map(Path::new).collect();
        matches(&globs, &names)
    }

    #[test]
    fn a_pattern_takes_files_and_what_is_below_directories() {
        for (pattern, path) in [
            ("*.c", "a.c"),
            ("src/*.c", "src/a.c"),
            ("src/**/*.c", "src/a.c"),
            ("src/**/*.c", "src/x/y/a.c"),
            ("**", "x/y"),
            ("sr?", "src/deep/a"),
            ("[ab].c", "b.c"),
        ] {
            assert!(is_match(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*.c", "src/a.c"),
            ("src/*.c", "src/x/a.c"),
            ("src/**/*.c", "src/a.h"),
            ("*.c/x", "a.c"),
        ] {
            assert!(!is_match(pattern, path), "{pattern} {path}");
        }
    }
}
