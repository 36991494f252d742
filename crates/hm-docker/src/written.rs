//! What a snapshot's steps wrote over the source, found out when the source has changed since, and only for what differs.
//!
//! The engine can list all that a container wrote, but it walks the whole image for that and takes longer than most
//! steps. So nothing is asked when a snapshot is taken. A path that is still as it was laid (kind, permissions, size,
//! time) was not written over; one that the source does not have yet must not be there, and its directory must hold
//! something of the source still: one that holds nothing of it may have been removed and made again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bollard::query_parameters::{ContainerArchiveInfoOptions, DownloadFromContainerOptions};
use futures::FutureExt;
use futures::future::try_join_all;

use super::container::{Container, Shape};
use super::engine::{failed, found};
use super::manifest::{Difference, Item, Manifest};
use super::shared::Shared;
use super::stream;
use hm_source::EntryKind;
use hm_vm::{ExecRequest, Network, Result, VmError, WORKSPACE};

/// More paths than this are not asked for one by one: the whole workspace is listed.
const ONE_BY_ONE: usize = 200;
/// How many are asked for at once.
const AT_ONCE: usize = 8;
/// How many files of a directory are looked at to find one that is still the source's.
const SURVIVORS: usize = 16;
/// The bit of a directory in the modes that the engine tells.
const DIRECTORY: u32 = 1 << 31;
/// Those of a symbolic link, a device, a pipe, a socket and what else is no regular file.
const NOT_REGULAR: u32 = (1 << 27) | (1 << 26) | (1 << 25) | (1 << 24) | (1 << 21) | (1 << 19);
const SYMLINK: u32 = 1 << 27;

/// A path that the source cannot be exchanged at, for steps wrote there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub path: PathBuf,
    /// Whether what was written hides the source at the path and below it.
    pub hides: bool,
    why: &'static str,
}

impl Finding {
    /// Why the snapshot cannot be used over the other source.
    pub(super) fn words(&self) -> String {
        format!("{}, {}", self.path.display(), self.why)
    }
}

const MADE: &str = "which this snapshot has made itself, is in the source now";
const OVERWRITTEN: &str = "which this snapshot had overwritten, has changed";
const REPLACED: &str = "which this snapshot had replaced, has changed";
const ENTERED: &str = "into which this snapshot had written, is no directory any more";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// What a path is in a snapshot.
#[derive(Debug, Clone, Copy)]
struct Stat {
    kind: Kind,
    mode: u32,
    size: u64,
    /// Seconds since 1970.
    modified: i64,
}

impl Stat {
    /// Whether it is what was laid.
    fn is(&self, item: &Item) -> bool {
        let same_time = self.modified == item.laid_seconds();
        match item.entry.kind {
            EntryKind::Directory => self.kind == Kind::Directory,
            EntryKind::Symlink { .. } => self.kind == Kind::Symlink && same_time,
            EntryKind::File { size, .. } => {
                self.kind == Kind::File
                    && self.size == size
                    && self.mode & 0o777 == item.entry.mode & 0o777
                    && same_time
            }
        }
    }
}

/// The paths among those that differ where steps of an image wrote over the source that it holds.
pub(super) async fn over(
    shared: &std::sync::Arc<Shared>,
    image: &str,
    before: &Manifest,
    difference: &Difference<'_>,
) -> Result<Vec<Finding>> {
    if difference.is_empty() {
        return Ok(Vec::new());
    }
    let request = ExecRequest {
        network: Network::None,
        ..ExecRequest::shell("")
    };
    let shape = Shape::of(&request, None, Vec::new());
    let container = Container::create(shared, image, &shape)
        .await?
        .ok_or_else(|| VmError::Other("an image went away while it was looked at; run again".into()))?;
    look(shared, &container.id, before, difference).await
}

async fn look(
    shared: &Shared,
    container: &str,
    before: &Manifest,
    difference: &Difference<'_>,
) -> Result<Vec<Finding>> {
    let questions = Questions::about(before, difference);
    let view = View::open(shared, container, &questions).await?;
    let mut findings = Vec::new();
    let mut find = |path: &Path, hides: bool, why: &'static str| {
        findings.push(Finding {
            path: path.to_owned(),
            hides,
            why,
        });
    };
    // What lies below something that is no directory any more needs no look of its own.
    let mut lost: BTreeSet<&Path> = BTreeSet::new();
    for (path, stat) in view.all(questions.directories.iter().copied()).await? {
        if stat.is_none_or(|stat| stat.kind != Kind::Directory) && !below(&lost, path) {
            lost.insert(path);
            find(path, true, OVERWRITTEN);
        }
    }
    let same = questions.same.iter().filter(|(path, _)| !below(&lost, path));
    for (path, stat) in view.all(same.map(|(path, _)| *path)).await? {
        let laid = questions.same.get(path);
        if !laid.zip(stat).is_some_and(|(laid, stat)| stat.is(laid)) {
            find(path, true, OVERWRITTEN);
        }
    }
    let absent = questions.absent.iter().filter(|path| !below(&lost, path));
    let mut made: BTreeSet<&Path> = BTreeSet::new();
    for (path, stat) in view.all(absent.copied()).await? {
        if stat.is_some() && !below(&made, path) {
            made.insert(path);
            find(path, true, MADE);
        }
    }
    for (directory, files) in &questions.entered {
        if below(&lost, directory) || files.is_empty() {
            continue;
        }
        let mut survives = false;
        for some in files.chunks(4) {
            let stats = view.all(some.iter().map(|item| item.path())).await?;
            survives = some
                .iter()
                .zip(&stats)
                .any(|(item, (_, stat))| stat.is_some_and(|stat| stat.is(item)));
            if survives {
                break;
            }
        }
        if !survives {
            find(directory, true, REPLACED);
        }
    }
    let known: HashSet<&Path> = before.0.iter().map(Item::path).collect();
    for directory in questions.gone.iter().filter(|path| !below(&lost, path)) {
        let listed = view.listed(directory).await?;
        if listed.keys().any(|path| !known.contains(path.as_path())) {
            find(directory, false, ENTERED);
        }
    }
    Ok(findings)
}

/// Whether a path is one of these, or lies below one.
fn below(roots: &BTreeSet<&Path>, path: &Path) -> bool {
    path.ancestors().any(|ancestor| roots.contains(ancestor))
}

/// What has to be known to exchange one source for another.
#[derive(Debug, Default)]
struct Questions<'a> {
    /// Directories that must be some still.
    directories: BTreeSet<&'a Path>,
    /// Paths that must be as they were laid.
    same: BTreeMap<&'a Path, &'a Item>,
    /// Paths that must not be there.
    absent: BTreeSet<&'a Path>,
    /// Directories that get something new, and files one of which must be as it was laid.
    entered: BTreeMap<&'a Path, Vec<&'a Item>>,
    /// Directories that go, which must hold nothing of the steps'.
    gone: BTreeSet<&'a Path>,
}

impl<'a> Questions<'a> {
    fn about(before: &'a Manifest, difference: &Difference<'a>) -> Self {
        let old: HashMap<&Path, &Item> = before.0.iter().map(|item| (item.path(), item)).collect();
        let mut questions = Self::default();
        let changed: BTreeSet<&Path> = difference
            .laid
            .iter()
            .chain(&difference.removed)
            .map(|item| item.path())
            .collect();
        let above = |path: &'a Path| {
            let ancestors = path.ancestors().skip(1);
            ancestors.filter(|ancestor| old.get(ancestor).is_some_and(|item| item.is_directory()))
        };
        for item in &difference.laid {
            let path = item.path();
            questions.directories.extend(above(path));
            match old.get(path) {
                Some(laid) => {
                    questions.same.insert(path, laid);
                    if laid.is_directory() && !item.is_directory() {
                        questions.gone.insert(path);
                    }
                }
                None => {
                    questions.absent.insert(path);
                    if let Some(directory) = above(path).next() {
                        questions.entered.entry(directory).or_default();
                    }
                }
            }
        }
        for item in &difference.removed {
            let path = item.path();
            questions.directories.extend(above(path));
            questions.same.insert(path, item);
            if item.is_directory() {
                questions.gone.insert(path);
            }
        }
        // One that lies in another is listed with it.
        let gone = questions.gone.clone();
        questions
            .gone
            .retain(|path| !path.ancestors().skip(1).any(|above| gone.contains(above)));
        for (directory, files) in &mut questions.entered {
            let inside = before.0.iter().filter(|item| {
                !item.is_directory() && item.path().starts_with(directory) && !changed.contains(item.path())
            });
            files.extend(inside);
            files.sort_by_key(|item| item.path().components().count());
            files.truncate(SURVIVORS);
            if files.is_empty() {
                // All that it held differs: what has to be the same is asked of each by itself.
                let held = |item: &&Item| !item.is_directory() && item.path().starts_with(directory);
                files.extend(before.0.iter().filter(held).take(SURVIVORS));
            }
        }
        questions
    }

    fn len(&self) -> usize {
        self.directories.len() + self.same.len() + self.absent.len()
    }
}

/// What is known of a container's workspace.
enum View<'a> {
    Asked(&'a Shared, &'a str),
    Listed(BTreeMap<PathBuf, Stat>),
}

impl<'a> View<'a> {
    async fn open(shared: &'a Shared, container: &'a str, questions: &Questions<'_>) -> Result<Self> {
        let mut paths = questions.directories.iter().chain(&questions.absent);
        let named = paths.all(|path| path.to_str().is_some())
            && questions.same.keys().all(|path| path.to_str().is_some());
        if named && questions.len() <= ONE_BY_ONE {
            return Ok(Self::Asked(shared, container));
        }
        let all = list(shared, container, Path::new("")).await?;
        Ok(Self::Listed(all))
    }

    /// What is at each of these paths, in their order.
    async fn all<'p>(&self, paths: impl Iterator<Item = &'p Path>) -> Result<Vec<(&'p Path, Option<Stat>)>> {
        match self {
            Self::Listed(all) => Ok(paths.map(|path| (path, all.get(path).copied())).collect()),
            Self::Asked(shared, container) => {
                let paths: Vec<_> = paths.collect();
                let mut stats = Vec::with_capacity(paths.len());
                for some in paths.chunks(AT_ONCE) {
                    let mut asked = Vec::with_capacity(some.len());
                    for path in some {
                        asked.push(ask(shared, container, path).boxed());
                    }
                    stats.extend(try_join_all(asked).await?);
                }
                Ok(paths.into_iter().zip(stats).collect())
            }
        }
    }

    /// All that lies in a directory.
    async fn listed(&self, directory: &Path) -> Result<BTreeMap<PathBuf, Stat>> {
        match self {
            Self::Asked(shared, container) => list(shared, container, directory).await,
            Self::Listed(all) => {
                let inside = all.iter().filter(|(path, _)| path.starts_with(directory));
                Ok(inside.map(|(path, stat)| (path.clone(), *stat)).collect())
            }
        }
    }
}

/// Asks the engine what is at one path.
async fn ask(shared: &Shared, container: &str, path: &Path) -> Result<Option<Stat>> {
    let docker = shared.docker().await?;
    let options = ContainerArchiveInfoOptions {
        path: Path::new(WORKSPACE).join(path).to_string_lossy().into_owned(),
    };
    let stat = found(docker.get_container_archive_info(container, Some(options)).await);
    let stat = stat.map_err(failed("cannot look at a snapshot's files"))?;
    Ok(stat.map(|stat| Stat {
        kind: match stat.file_mode {
            mode if mode & SYMLINK != 0 => Kind::Symlink,
            mode if mode & DIRECTORY != 0 => Kind::Directory,
            mode if mode & NOT_REGULAR != 0 => Kind::Other,
            _ => Kind::File,
        },
        mode: stat.file_mode & 0o777,
        size: u64::try_from(stat.size).unwrap_or(0),
        modified: stat
            .modification_time
            .and_then(|time| chrono::DateTime::parse_from_rfc3339(&time).ok())
            .map_or(i64::MIN, |time| time.timestamp()),
    }))
}

/// Lists a directory of the workspace with all that is in it; nothing when it is not there.
async fn list(shared: &Shared, container: &str, directory: &Path) -> Result<BTreeMap<PathBuf, Stat>> {
    let place = Path::new(WORKSPACE).join(directory);
    if ask(shared, container, directory).await?.is_none() {
        return Ok(BTreeMap::new());
    }
    let options = DownloadFromContainerOptions {
        path: place.to_string_lossy().into_owned(),
    };
    let docker = shared.docker().await?.clone();
    let (archive, _flow) = stream::readable(docker.download_from_container(container, Some(options)));
    let root = directory.to_owned();
    let listed = tokio::task::spawn_blocking(move || entries(archive, &root)).await;
    listed
        .map_err(|error| VmError::Other(format!("cannot list a snapshot's files: {error}")))?
        .map_err(VmError::io("cannot list a snapshot's files in", place))
}

fn entries(archive: impl Read, root: &Path) -> io::Result<BTreeMap<PathBuf, Stat>> {
    let mut all = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let entry = entry?;
        let name = entry.path()?.into_owned();
        let mut parts = name.components();
        // The archive begins with the last part of what was asked for.
        parts.next();
        let header = entry.header();
        let stat = Stat {
            kind: match header.entry_type() {
                tar::EntryType::Regular
                | tar::EntryType::Continuous
                | tar::EntryType::GNUSparse
                | tar::EntryType::Link => Kind::File,
                tar::EntryType::Directory => Kind::Directory,
                tar::EntryType::Symlink => Kind::Symlink,
                _ => Kind::Other,
            },
            mode: header.mode()?,
            size: entry.size(),
            modified: header.mtime()?.try_into().unwrap_or(i64::MAX),
        };
        all.insert(root.join(parts.as_path()), stat);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hm_source::Entry;

    fn manifest(files: &[&str]) -> Manifest {
        let mut items = Vec::new();
        for path in files {
            let kind = if path.ends_with('/') {
                EntryKind::Directory
            } else {
                EntryKind::File {
                    digest: *blake3::hash(path.as_bytes()).as_bytes(),
                    size: 1,
                }
            };
            let entry = Entry { kind, mode: 0o644 };
            items.push(Item::new(path.trim_end_matches('/').as_bytes(), entry, 0));
        }
        Manifest(items)
    }

    fn words<'a>(paths: impl IntoIterator<Item = &'a &'a Path>) -> Vec<&'a str> {
        paths.into_iter().filter_map(|path| path.to_str()).collect()
    }

    #[test]
    fn questions_name_each_path_that_decides() {
        let before = manifest(&[
            "a",
            "gen/",
            "gen/one",
            "gen/sub/",
            "gen/sub/two",
            "old/",
            "old/x/",
            "old/x/y",
        ]);
        let after = manifest(&[
            "a",
            "gen/",
            "gen/new",
            "gen/one",
            "gen/sub/",
            "gen/sub/two",
            "more/",
            "more/z",
        ]);
        let difference = before.difference(&after);
        let questions = Questions::about(&before, &difference);
        assert_eq!(words(&questions.absent), ["gen/new", "more", "more/z"]);
        assert_eq!(words(questions.same.keys()), ["old", "old/x", "old/x/y"]);
        assert_eq!(words(&questions.gone), ["old"]);
        assert_eq!(words(&questions.directories), ["gen", "old", "old/x"]);
        let entered = &questions.entered[Path::new("gen")];
        assert_eq!(entered[0].path(), Path::new("gen/one"));
        assert_eq!(questions.entered.len(), 1);
    }
}
