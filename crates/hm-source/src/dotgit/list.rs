//! Listing what the repositories of a worktree hold.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD};
use uuid::Uuid;

use super::{config, index};
use crate::copy;
use crate::error::SourceError;
use crate::frozen::Source;
use crate::manifest::{Kind, Stat};
use crate::origins::Origins;
use crate::repository::Repository;
use crate::scan::{Scan, kind_of, stat_of};

/// How far one repository may borrow objects through others; git's own limit.
const BORROWED: usize = 5;

/// What one of several worktrees shares with the others, by git's own list.
const SHARED: &[&[u8]] = &[
    b"branches",
    b"config",
    b"description",
    b"grafts",
    b"hooks",
    b"info",
    b"lfs",
    b"objects",
    b"packed-refs",
    b"reftable",
    b"refs",
    b"remotes",
    b"rr-cache",
    b"shallow",
    b"svn",
];

/// What is listed, and where it lies.
#[derive(Debug)]
pub(crate) struct Listing {
    pub scan: Scan,
    pub origins: Origins,
    /// Where git will not work as it does in the worktree, and why.
    pub notes: Vec<String>,
}

/// Collects paths.
struct Lister<'a> {
    found: BTreeMap<Vec<u8>, (Kind, Stat)>,
    origins: Origins,
    notes: Vec<String>,
    /// A directory for files that are as they are nowhere.
    made: &'a Path,
    source: &'a Source,
}

/// Lists what `.git` is to hold in each of the directories `dot_gits` of a worktree that was just frozen as `source`.
pub(crate) fn list(
    worktree: &Path,
    dot_gits: &[Vec<u8>],
    source: &Source,
    made: &Path,
    home: Option<&Path>,
    takes_ignored: bool,
) -> Result<Listing, SourceError> {
    let mut lister = Lister {
        found: BTreeMap::new(),
        origins: Origins::below(worktree),
        notes: Vec::new(),
        made,
        source,
    };
    let repositories: Vec<(&[u8], Option<Repository>)> = dot_gits
        .iter()
        .map(|path| {
            let root = worktree.join(OsStr::from_bytes(path));
            (path.as_slice(), Repository::at(&root, home))
        })
        .collect();
    // Each is listed where its worktree is, and nowhere else.
    let placed: HashSet<PathBuf> = repositories
        .iter()
        .filter_map(|(_, repository)| fs::canonicalize(&repository.as_ref()?.git_dir).ok())
        .collect();
    for (path, repository) in &repositories {
        if !lister.parents(path) {
            continue;
        }
        let at = below(path, b".git");
        match repository {
            Some(repository) => lister.repository(&at, repository, &placed, takes_ignored)?,
            None => lister.as_it_is(&at, &worktree.join(OsStr::from_bytes(&at)))?,
        }
    }
    if dot_gits.first().is_none_or(|first| !first.is_empty()) {
        lister.notes.push(format!(
            ".git was asked for, and {} has none: a run takes the .git of its own root along, none from above it",
            worktree.display()
        ));
    }
    let mut found: Vec<(Vec<u8>, (Kind, Stat))> = lister.found.into_iter().collect();
    found.sort_by(|(one, _), (other, _)| crate::manifest::order(one, other));
    Ok(Listing {
        scan: Scan::of(found, worktree)?,
        origins: lister.origins,
        notes: lister.notes,
    })
}

fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        name.to_vec()
    } else {
        [directory, b"/", name].concat()
    }
}

fn look(path: &Path) -> Option<(Kind, Stat)> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some((kind_of(&stat)?, stat_of(&stat)))
}

/// What git itself makes while it works, or holds for this machine alone. No ref may end as a lock does.
fn is_passing(path: &[u8]) -> bool {
    let start = path
        .windows(6)
        .rposition(|part| part == b"/.git/")
        .map(|at| at + 1);
    let within = path.get(start.unwrap_or(0) + 5..).unwrap_or_default();
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.ends_with(b".lock")
        || (within.starts_with(b"objects/") && name.starts_with(b"tmp_"))
        || within.starts_with(b"fsmonitor--daemon")
        || within.starts_with(b"sharedindex.")
        || within == b"gc.pid"
}

impl Lister<'_> {
    /// Lists the directories above a repository as the source has them; false where it has them no more.
    fn parents(&mut self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends: Vec<usize> = ends
            .map(|(at, _)| at)
            .chain((!path.is_empty()).then_some(path.len()))
            .collect();
        for end in ends {
            let above = path.get(..end).unwrap_or_default();
            match self.source.record(above) {
                Some(record) if record.kind == Kind::Directory => {
                    self.found.insert(above.to_vec(), (Kind::Directory, record.stat));
                }
                _ => return false,
            }
        }
        true
    }

    /// Lists a directory and everything in it but what `skips` names: a path relative to it, and where it lies.
    fn tree(
        &mut self,
        at: &[u8],
        from: &Path,
        skips: &dyn Fn(&[u8], &Path) -> bool,
    ) -> Result<(), SourceError> {
        let mut open = vec![Vec::new()];
        while let Some(directory) = open.pop() {
            let here = from.join(OsStr::from_bytes(&directory));
            let entries = match fs::read_dir(&here) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(SourceError::unreadable(&here)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(SourceError::unreadable(&here))?;
                let name = entry.file_name();
                let path = below(&directory, name.as_bytes());
                if is_passing(&below(at, &path)) || skips(&path, &entry.path()) {
                    continue;
                }
                let Some((kind, stat)) = look(&entry.path()) else {
                    continue;
                };
                if kind == Kind::Directory {
                    open.push(path.clone());
                }
                self.found.entry(below(at, &path)).or_insert((kind, stat));
            }
        }
        Ok(())
    }

    /// Something that bears the name `.git` and is no repository for git.
    fn as_it_is(&mut self, at: &[u8], from: &Path) -> Result<(), SourceError> {
        let Some((kind, stat)) = look(from) else {
            return Ok(());
        };
        self.found.insert(at.to_vec(), (kind, stat));
        if kind == Kind::Directory {
            return self.tree(at, from, &|_, _| false);
        }
        self.notes.push(format!(
            "{} leads to no repository: git does not work in the worktree, and will not in the steps",
            from.display()
        ));
        Ok(())
    }

    fn repository(
        &mut self,
        at: &[u8],
        repository: &Repository,
        placed: &HashSet<PathBuf>,
        takes_ignored: bool,
    ) -> Result<(), SourceError> {
        let (own, common) = (&repository.git_dir, &repository.common_dir);
        let is_linked = fs::canonicalize(own).ok() != fs::canonicalize(common).ok();
        let Some(stat) = index::modified(own) else {
            return Ok(());
        };
        self.found.insert(at.to_vec(), (Kind::Directory, stat));
        self.origins.put(at, own.clone());
        let is_placed = |path: &Path| {
            let is_candidate = path.join("HEAD").symlink_metadata().is_ok();
            is_candidate && fs::canonicalize(path).is_ok_and(|real| placed.contains(&real))
        };
        let made: &[&[u8]] = &[
            b"config",
            b"config.worktree",
            b"index",
            b"commondir",
            b"gitdir",
            b"worktrees",
            b"locked",
        ];
        self.tree(at, own, &|path, from| {
            made.contains(&path) || path == b"objects/info/alternates" || in_modules(path) && is_placed(from)
        })?;
        if is_linked {
            for name in SHARED {
                self.shared(at, name, common)?;
            }
            if common.join("reftable").is_dir() {
                self.notes.push(format!(
                    "{} is one of several worktrees, and the refs are of the kind reftable: git will not work in the steps",
                    repository.root.display()
                ));
            }
        }
        // Some scripts make worktrees by links to another repository's directories.
        self.followed(at, own)?;
        self.borrowed(at, common, 0)?;
        self.make(&below(at, b"config"), &common.join("config"), |text| {
            Ok(Some(config::rewritten(&text, repository)))
        })?;
        if own.join("config.worktree").is_file() {
            self.make(
                &below(at, b"config.worktree"),
                &own.join("config.worktree"),
                |text| Ok(Some(config::rewritten(&text, repository))),
            )?;
        }
        self.index(at, repository, takes_ignored)
    }

    /// One of the things that a repository's worktrees share.
    fn shared(&mut self, at: &[u8], name: &[u8], common: &Path) -> Result<(), SourceError> {
        let from = common.join(OsStr::from_bytes(name));
        if name == b"config" || (name == b"reftable") {
            return Ok(());
        }
        let Some((kind, stat)) = look(&from) else {
            return Ok(());
        };
        let to = below(at, name);
        if kind != Kind::Directory {
            self.found.insert(to.clone(), (kind, stat));
            self.origins.put(&to, from);
            return Ok(());
        }
        // Of `info`, `refs` and `logs`, a worktree has parts of its own.
        let before: HashSet<Vec<u8>> = self
            .found
            .keys()
            .filter(|path| path.starts_with(&to))
            .cloned()
            .collect();
        self.found.insert(to.clone(), (kind, stat));
        let name = name.to_vec();
        self.tree(&to, &from, &|path, _| {
            let own: &[&[u8]] = &[
                b"refs/bisect",
                b"refs/rewritten",
                b"refs/worktree",
                b"info/sparse-checkout",
                b"objects/info/alternates",
            ];
            own.contains(&below(&name, path).as_slice())
        })?;
        for path in &before {
            let relative = path.get(at.len() + 1..).unwrap_or_default();
            let own = self.origins.of(at).join(OsStr::from_bytes(relative));
            self.origins.put(path, own);
        }
        self.origins.put(&to, from);
        Ok(())
    }

    /// What is a link in a repository's directory, and leads to a part of another one.
    fn followed(&mut self, at: &[u8], own: &Path) -> Result<(), SourceError> {
        for name in SHARED {
            let to = below(at, name);
            let link = own.join(OsStr::from_bytes(name));
            if !self
                .found
                .get(&to)
                .is_some_and(|(kind, _)| *kind == Kind::Symlink)
            {
                continue;
            }
            let Some(real) = fs::canonicalize(&link).ok() else {
                continue;
            };
            let Some((kind, stat)) = look(&real) else { continue };
            self.found.insert(to.clone(), (kind, stat));
            self.origins.put(&to, real.clone());
            if kind == Kind::Directory {
                self.tree(&to, &real, &|path, _| path == b"info/alternates")?;
            }
        }
        Ok(())
    }

    /// The objects of other repositories that this one borrows.
    fn borrowed(&mut self, at: &[u8], git: &Path, depth: usize) -> Result<(), SourceError> {
        let objects = git.join("objects");
        let Ok(list) = fs::read(objects.join("info/alternates")) else {
            return Ok(());
        };
        for line in list.split(|byte| *byte == b'\n') {
            if line.is_empty() || line.starts_with(b"#") || depth >= BORROWED {
                continue;
            }
            let from = objects.join(OsStr::from_bytes(line));
            if !from.is_dir() {
                self.notes.push(format!(
                    "{}, whose objects {} borrows, is not there",
                    from.display(),
                    git.display()
                ));
                continue;
            }
            let before: HashSet<Vec<u8>> = self.found.keys().cloned().collect();
            let to = below(at, b"objects");
            self.tree(&to, &from, &|path, _| {
                path == b"info" || path.starts_with(b"pack/multi-pack-index")
            })?;
            let added: Vec<Vec<u8>> = self
                .found
                .keys()
                .filter(|path| !before.contains(*path))
                .cloned()
                .collect();
            for path in added {
                let relative = path.get(to.len() + 1..).unwrap_or_default();
                self.origins.put(&path, from.join(OsStr::from_bytes(relative)));
            }
            if let Some(git) = from.parent() {
                self.borrowed(at, git, depth + 1)?;
            }
        }
        Ok(())
    }

    fn index(&mut self, at: &[u8], repository: &Repository, takes_ignored: bool) -> Result<(), SourceError> {
        let file = repository.index();
        let root = at.strip_suffix(b".git").unwrap_or_default().to_vec();
        let source = self.source;
        let to = below(at, b"index");
        // The same index over the same source was looked at before; or it was made for this very source.
        let stamp = index::modified(&file).map(|stat| format!("{stat:?} {}", source.id()));
        let made = self.made_file(&to);
        let memo = made.with_extension("of");
        let is_known = stamp.is_some() && fs::read_to_string(&memo).ok() == stamp && made.is_file();
        if !is_known {
            self.make(&to, &file, |bytes| {
                if takes_ignored {
                    return Ok(Some(bytes));
                }
                index::refreshed(repository, source, &root).map_err(|reason| SourceError::Index {
                    path: file.clone(),
                    reason,
                })
            })?;
            if let Some(stamp) = stamp {
                fs::write(&memo, stamp).map_err(SourceError::io("cannot write", &memo))?;
            }
            return Ok(());
        }
        self.put_made(&to, made);
        Ok(())
    }

    fn made_file(&self, at: &[u8]) -> PathBuf {
        self.made.join(&blake3::hash(at).to_hex()[..32])
    }

    fn put_made(&mut self, at: &[u8], made: PathBuf) {
        if let Some(found) = look(&made) {
            self.found.insert(at.to_vec(), found);
            self.origins.put(at, made);
        }
    }

    /// Makes a file out of another one, whose time and mode it has. The same content is not written again.
    fn make(
        &mut self,
        at: &[u8],
        of: &Path,
        change: impl FnOnce(Vec<u8>) -> Result<Option<Vec<u8>>, SourceError>,
    ) -> Result<(), SourceError> {
        let text = match fs::read(of) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(SourceError::unreadable(of)(error)),
        };
        let Some(stat) = index::modified(of) else {
            return Ok(());
        };
        let Some(text) = change(text)? else {
            return Ok(());
        };
        let made = self.made_file(at);
        let is_same = look(&made)
            .is_some_and(|(_, there)| there.mtime == stat.mtime && there.mode == stat.mode)
            && fs::read(&made).is_ok_and(|there| there == text);
        if !is_same {
            let temporary = made.with_extension(Uuid::now_v7().to_string());
            fs::write(&temporary, text).map_err(SourceError::io("cannot write", &temporary))?;
            copy::seal_path(&temporary, &stat)?;
            fs::rename(&temporary, &made).map_err(SourceError::io("cannot write", &made))?;
        }
        self.put_made(at, made);
        Ok(())
    }
}

fn in_modules(path: &[u8]) -> bool {
    path.starts_with(b"modules/")
}
