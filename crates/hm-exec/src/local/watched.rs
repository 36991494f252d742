//! What `on_change` watches, as the frozen source has it.
//!
//! The plan's own key holds what its author's files were when the plan was written. A plan that is run later,
//! from a file or by a rerun, would find the snapshot of files that have changed since; this digest would not.
//! What a path or pattern means is the same for the languages that write plans; `vectors/watched.json` holds both to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use hm_pipeline_ir::{CachePolicy, PipelineGraph};
use hm_source::{EntryKind, Source};

/// How many links lead from one path to another at most.
const LINKS: usize = 40;

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
            let found = self.known.entry(pattern.to_owned()).or_insert_with(|| {
                let mut hasher = blake3::Hasher::new();
                for path in expand(source, pattern) {
                    fold(&mut hasher, source, &path);
                }
                hasher.finalize()
            });
            hasher.update(found.as_bytes());
        }
        Some(*hasher.finalize().as_bytes())
    }
}

/// A sentence for each path or pattern that names nothing, with the steps that watch it.
pub(super) fn unmatched(graph: &PipelineGraph, source: &Source) -> Vec<String> {
    let mut steps: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, step) in graph.steps() {
        let mut patterns = Vec::new();
        collect(&step.cache, &mut patterns);
        for pattern in patterns {
            steps.entry(pattern).or_default().push(step.key.as_str());
        }
    }
    steps
        .into_iter()
        .filter(|(pattern, _)| expand(source, pattern).is_empty())
        .map(|(pattern, steps)| {
            format!(
                "on_change({pattern:?}) of {} names no file of the source, so no change of it is seen",
                steps.join(", ")
            )
        })
        .collect()
}

/// Recursive, but no deeper than a plan may nest.
fn collect<'p>(policy: &'p CachePolicy, patterns: &mut Vec<&'p str>) {
    match policy {
        CachePolicy::OnChange { paths, .. } => patterns.extend(paths.iter().map(String::as_str)),
        CachePolicy::Compose { policies, .. } => policies.iter().for_each(|part| collect(part, patterns)),
        _ => {}
    }
}

/// The files and links that a pattern names, each directory standing for all that is in it. A name that stands in the
/// pattern as it is matches, whatever characters are in it; no `.git` is named by a wildcard.
fn expand(source: &Source, pattern: &str) -> BTreeSet<PathBuf> {
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
        return named(source, &base);
    }
    let Some(base) = resolve(source, &base) else {
        return BTreeSet::new();
    };
    let files = source
        .entries()
        .filter(|(_, entry)| entry.kind != EntryKind::Directory);
    files
        .map(|(path, _)| path)
        .filter(|path| {
            let Ok(rest) = path.strip_prefix(&base) else {
                return false;
            };
            let names: Vec<&Path> = rest.iter().map(Path::new).collect();
            !names.iter().any(|name| name.as_os_str() == ".git") && matches(&globs, &names)
        })
        .map(Path::to_path_buf)
        .collect()
}

/// What a path without wildcards names: through links, and of a link to a directory that directory too.
fn named(source: &Source, path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let Some(parent) = path
        .parent()
        .map_or(Some(PathBuf::new()), |parent| resolve(source, parent))
    else {
        return found;
    };
    let place = path
        .file_name()
        .map_or_else(PathBuf::new, |name| parent.join(name));
    if let Some(entry) = source.get(&place)
        && entry.kind != EntryKind::Directory
    {
        found.insert(place.clone());
    }
    if let Some(real) = resolve(source, &place) {
        let is_git = |path: &Path| path.iter().any(|name| name == ".git");
        let below = source.entries().filter(|(path, entry)| {
            entry.kind != EntryKind::Directory
                && path
                    .strip_prefix(&real)
                    .is_ok_and(|rest| !rest.as_os_str().is_empty() && !is_git(rest))
        });
        found.extend(below.map(|(path, _)| path.to_path_buf()));
    }
    found
}

/// Where a path leads through the source's links; `None` where that is nothing of the source.
fn resolve(source: &Source, path: &Path) -> Option<PathBuf> {
    let mut real = PathBuf::new();
    let mut rest: Vec<PathBuf> = parts(path)?;
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part.as_os_str() == ".." {
            if !real.pop() {
                return None;
            }
            continue;
        }
        real.push(&part);
        if let EntryKind::Symlink { target } = source.get(&real)?.kind {
            links += 1;
            if links > LINKS {
                return None;
            }
            real.pop();
            rest.extend(parts(&target)?);
        }
    }
    Some(real)
}

/// A relative path's parts, the last one first.
fn parts(path: &Path) -> Option<Vec<PathBuf>> {
    let parts = path.components().rev().filter(|part| *part != Component::CurDir);
    parts
        .map(|part| match part {
            Component::Normal(_) | Component::ParentDir => Some(PathBuf::from(part.as_os_str())),
            _ => None,
        })
        .collect()
}

fn fold(hasher: &mut blake3::Hasher, source: &Source, path: &Path) {
    let name = path.as_os_str().as_encoded_bytes();
    hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
    let kind = source.get(path).map(|entry| entry.kind);
    match kind {
        Some(EntryKind::File { digest, .. }) => {
            hasher.update(b"file").update(&digest);
        }
        Some(EntryKind::Symlink { target }) => {
            let target = blake3::hash(target.as_os_str().as_encoded_bytes());
            hasher.update(b"link").update(target.as_bytes());
            // Whoever reads the link reads the file.
            let real = resolve(source, path).and_then(|real| source.get(&real));
            if let Some(EntryKind::File { digest, .. }) = real.map(|entry| entry.kind) {
                hasher.update(b"file").update(&digest);
            }
        }
        Some(EntryKind::Directory) | None => {
            hasher.update(b"directory");
        }
    }
}

/// One part of a pattern, between slashes.
enum Segment {
    /// `**`: any number of directories.
    Any,
    /// `*`, `?`, `[...]` and `[!...]`, or the very name.
    Glob(Option<GlobMatcher>, String),
}

impl Segment {
    fn new(part: &str) -> Self {
        if part == "**" {
            return Self::Any;
        }
        let glob = GlobBuilder::new(&escaped(part)).backslash_escape(false).build();
        Self::Glob(glob.ok().map(|glob| glob.compile_matcher()), part.to_owned())
    }

    fn takes(&self, name: &Path) -> bool {
        match self {
            Self::Any => true,
            Self::Glob(glob, text) => {
                name.as_os_str() == OsStr::new(text) || glob.as_ref().is_some_and(|glob| glob.is_match(name))
            }
        }
    }
}

/// The pattern as `globset` has to be given it: braces and a bracket that is never closed are themselves, and a class
/// is negated by `!` alone.
fn escaped(part: &str) -> String {
    let mut text = String::with_capacity(part.len() + 8);
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = after;
        match first {
            '{' | '}' => text.extend(['[', first, ']']),
            '[' => {
                let negated = after.strip_prefix('!');
                let inside = negated.unwrap_or(after);
                // A bracket right at the beginning is one of the class.
                let skip = usize::from(inside.starts_with(']'));
                let Some(end) = inside[skip..].find(']').map(|at| at + skip) else {
                    text.push_str("[[]");
                    continue;
                };
                let class = &inside[..end];
                rest = &inside[end + 1..];
                match (negated, class) {
                    (None, "^") => text.push('^'),
                    (None, class) if class.starts_with('^') => {
                        text.extend(["[", &class[1..], "^]"]);
                    }
                    _ => text.extend([if negated.is_some() { "[!" } else { "[" }, class, "]"]),
                }
            }
            other => text.push(other),
        }
    }
    text
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
    use std::collections::BTreeMap;

    use hm_source::{SourceOptions, SourceStore};
    use serde::Deserialize;

    use super::*;

    /// Cases that the languages hold to as well.
    #[derive(Deserialize)]
    struct Vectors {
        files: Vec<String>,
        links: BTreeMap<String, String>,
        cases: BTreeMap<String, Vec<String>>,
    }

    #[test]
    fn patterns_name_what_the_vectors_say() {
        let text = include_str!("../../../hm-dsl/tests/fixtures/watched.json");
        let vectors: Vectors = serde_json::from_str(text).expect("vectors");
        let directory = tempfile::tempdir().expect("a directory");
        let tree = directory.path().join("tree");
        let parent =
            |path: &Path| std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        for path in &vectors.files {
            let path = tree.join(path);
            parent(&path);
            std::fs::write(path, "x").expect("a file");
        }
        for (path, target) in &vectors.links {
            let path = tree.join(path);
            parent(&path);
            std::os::unix::fs::symlink(target, path).expect("a link");
        }
        let store = SourceStore::new(directory.path().join("sources"));
        let source = store
            .freeze(&tree, &SourceOptions::default())
            .expect("it freezes");
        for (pattern, expected) in &vectors.cases {
            let found = expand(&source, pattern);
            let found: Vec<&str> = found.iter().map(|path| path.to_str().expect("text")).collect();
            assert_eq!(found, *expected, "{pattern}");
        }
    }

    #[test]
    fn a_watched_link_changes_with_the_file_behind_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let tree = directory.path().join("tree");
        std::fs::create_dir_all(tree.join("real")).expect("a directory");
        std::os::unix::fs::symlink("real/file", tree.join("link")).expect("a link");
        std::os::unix::fs::symlink("real", tree.join("dir")).expect("a link");
        let store = SourceStore::new(directory.path().join("sources"));
        let digests = |content: &str| {
            std::fs::write(tree.join("real/file"), content).expect("a file");
            let source = store
                .freeze(&tree, &SourceOptions::default())
                .expect("it freezes");
            ["link", "l*", "dir", "dir/file", "dir/f*"].map(|pattern| {
                let mut hasher = blake3::Hasher::new();
                for path in expand(&source, pattern) {
                    fold(&mut hasher, &source, &path);
                }
                (pattern, hasher.finalize())
            })
        };
        let (before, after) = (digests("1"), digests("22"));
        for ((pattern, before), (_, after)) in before.into_iter().zip(after) {
            assert_ne!(before, after, "{pattern}");
        }
    }
}
