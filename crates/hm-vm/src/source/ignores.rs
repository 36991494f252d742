//! Which paths git would ignore: `.gitignore` files, the innermost first, then `.git/info/exclude`, then
//! the user's own list where the caller names one.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The patterns that hold in one directory, and those it inherits.
#[derive(Debug)]
pub(super) struct Ignores {
    outer: Option<Arc<Ignores>>,
    patterns: Gitignore,
    /// How many bytes of a path name the directory that the patterns are relative to.
    skip: usize,
}

impl Ignores {
    fn with(outer: Option<Arc<Self>>, text: &[u8], skip: usize) -> Option<Arc<Self>> {
        let mut builder = GitignoreBuilder::new("");
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        for line in text.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            // A pattern that is no pattern matches nothing, for git too.
            drop(builder.add_line(None, &line));
        }
        match builder.build() {
            Ok(patterns) if !patterns.is_empty() => Some(Arc::new(Self {
                outer,
                patterns,
                skip,
            })),
            _ => outer,
        }
    }

    /// Adds the `.gitignore` of the directory whose path is `skip` bytes long, separator included.
    pub fn enter(outer: Option<&Arc<Self>>, text: &[u8], skip: usize) -> Option<Arc<Self>> {
        Self::with(outer.cloned(), text, skip)
    }

    /// Whether git would leave this path out.
    pub fn leaves_out(&self, path: &[u8], is_directory: bool) -> bool {
        let mut next = Some(self);
        while let Some(ignores) = next {
            let relative = path.get(ignores.skip..).unwrap_or_default();
            match ignores
                .patterns
                .matched(Path::new(OsStr::from_bytes(relative)), is_directory)
            {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => next = ignores.outer.as_deref(),
            }
        }
        false
    }
}

/// What holds above a worktree's root.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// The patterns to start with.
    pub ignores: Option<Arc<Ignores>>,
    /// The root's path within the repository it lies in, with a separator behind it; else empty.
    pub prefix: Vec<u8>,
    /// The repository's index.
    pub index: Option<PathBuf>,
}

/// Reads what a repository around or at `root` says.
pub(super) fn surroundings(root: &Path, global: Option<&Path>) -> Surroundings {
    let global = global.and_then(|path| fs::read(path).ok());
    let Some(repository) = root
        .ancestors()
        .find(|path| path.join(".git").symlink_metadata().is_ok())
    else {
        return Surroundings {
            ignores: global.and_then(|text| Ignores::with(None, &text, 0)),
            ..Surroundings::default()
        };
    };
    let mut ignores = repository_wide(repository, global.as_deref(), 0);
    let below = root.strip_prefix(repository).unwrap_or(Path::new(""));
    let mut prefix = Vec::new();
    let mut directory = repository.to_owned();
    for part in below.components() {
        if let Ok(text) = fs::read(directory.join(".gitignore")) {
            ignores = Ignores::with(ignores, &text, prefix.len());
        }
        directory.push(part);
        prefix.extend_from_slice(part.as_os_str().as_bytes());
        prefix.push(b'/');
    }
    let git = repository.join(".git");
    let index = if git.is_dir() {
        Some(git.join("index"))
    } else {
        gitfile_target(&git).map(|git| repository.join(git).join("index"))
    };
    Surroundings {
        ignores,
        prefix,
        index,
    }
}

/// What holds in all of one repository, whose own path is `skip` bytes long, separator included.
pub(super) fn repository_wide(repository: &Path, global: Option<&[u8]>, skip: usize) -> Option<Arc<Ignores>> {
    let ignores = global.and_then(|text| Ignores::with(None, text, skip));
    let exclude = git_directory(repository).and_then(|git| fs::read(git.join("info/exclude")).ok());
    match exclude {
        Some(text) => Ignores::with(ignores, &text, skip),
        None => ignores,
    }
}

/// Where a repository's shared git files lie: its `.git`, or where a linked worktree's `.git` file leads.
fn git_directory(repository: &Path) -> Option<PathBuf> {
    let git = repository.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let directory = repository.join(gitfile_target(&git)?);
    let common = fs::read(directory.join("commondir")).ok();
    Some(match common {
        Some(common) => directory.join(OsStr::from_bytes(common.trim_ascii())),
        None => directory,
    })
}

/// What a `.git` file names.
fn gitfile_target(file: &Path) -> Option<PathBuf> {
    let text = fs::read(file).ok()?;
    let target = text.strip_prefix(b"gitdir:")?.trim_ascii();
    Some(PathBuf::from(OsStr::from_bytes(target)))
}
