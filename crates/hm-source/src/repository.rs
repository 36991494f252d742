//! A repository of git's around or within a worktree: where its files lie, and what its settings say of the tree.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix_ignore::glob::pattern::Case;

/// A repository with a worktree.
#[derive(Debug)]
pub(super) struct Repository {
    /// The directory that holds `.git`.
    pub root: PathBuf,
    /// What belongs to this worktree alone: `HEAD`, the index.
    pub git_dir: PathBuf,
    /// What all worktrees of the repository share: objects, refs, the configuration.
    pub common_dir: PathBuf,
    /// How names are digested.
    pub hash: gix_hash::Kind,
    /// `core.ignoreCase`.
    pub case: Case,
    /// The repository's own `core.excludesFile`, which stands in for the user's.
    pub excludes_file: Option<PathBuf>,
    /// The configuration says where the worktree is.
    pub names_worktree: bool,
}

impl Repository {
    /// The repository whose worktree is `root`; `None` where git sees none, although something bears the name
    /// `.git`.
    pub fn at(root: &Path, home: Option<&Path>) -> Option<Self> {
        let dot_git = root.join(".git");
        let metadata = fs::metadata(&dot_git).ok()?;
        let git_dir = if metadata.is_dir() {
            dot_git
        } else {
            root.join(gitfile_target(&dot_git)?)
        };
        let common_dir = match fs::read(git_dir.join("commondir")) {
            Ok(text) => git_dir.join(path_in(&text)),
            Err(_) => git_dir.clone(),
        };
        let is_repository = is_head(&git_dir.join("HEAD"))
            && common_dir.join("objects").is_dir()
            && common_dir.join("refs").is_dir();
        if !is_repository {
            return None;
        }
        let config = config(&common_dir, &git_dir);
        let hash = match config.string("extensions.objectFormat") {
            Some(name) if name.eq_ignore_ascii_case(b"sha256") => gix_hash::Kind::Sha256,
            _ => gix_hash::Kind::Sha1,
        };
        let folds = config.boolean("core.ignoreCase").ok().flatten().unwrap_or(false);
        let excludes_file =
            config
                .string("core.excludesFile")
                .map(|value| match (value.strip_prefix(b"~/"), home) {
                    (Some(rest), Some(home)) => home.join(OsStr::from_bytes(rest)),
                    _ => root.join(OsStr::from_bytes(&value)),
                });
        Some(Self {
            root: root.to_owned(),
            git_dir,
            common_dir,
            hash,
            case: if folds { Case::Fold } else { Case::Sensitive },
            excludes_file,
            names_worktree: config.string("core.worktree").is_some(),
        })
    }

    /// The repository that `start` lies in.
    pub fn around(start: &Path, home: Option<&Path>) -> Option<Self> {
        start.ancestors().find_map(|root| Self::at(root, home))
    }

    /// Git's index of this worktree.
    pub fn index(&self) -> PathBuf {
        self.git_dir.join("index")
    }

    /// The patterns that hold in all of the repository.
    pub fn exclude_file(&self) -> PathBuf {
        self.common_dir.join("info/exclude")
    }
}

/// The repository's configuration, without the user's and without included files. Git refuses to work with one
/// that cannot be parsed; here it says nothing.
fn config(common_dir: &Path, git_dir: &Path) -> gix_config::File {
    let read = |path: PathBuf| {
        gix_config::File::from_path_no_includes(path, gix_config::Source::Local).unwrap_or_default()
    };
    let mut config = read(common_dir.join("config"));
    let own = config.boolean("extensions.worktreeConfig").ok().flatten();
    if own.unwrap_or(false) {
        // What cannot be appended says nothing either.
        drop(config.append(read(git_dir.join("config.worktree"))));
    }
    config
}

/// Whether a file is a `HEAD` as git knows it: a link or a text that names a ref, or a commit's name.
fn is_head(file: &Path) -> bool {
    if let Ok(target) = fs::read_link(file) {
        return target.starts_with("refs");
    }
    let Ok(text) = fs::read(file) else { return false };
    match text.strip_prefix(b"ref:") {
        Some(name) => name.trim_ascii_start().starts_with(b"refs/"),
        None => text.len() >= 40 && text[..40].iter().all(u8::is_ascii_hexdigit),
    }
}

/// What a `.git` file names.
fn gitfile_target(file: &Path) -> Option<PathBuf> {
    let text = fs::read(file).ok()?;
    Some(path_in(text.strip_prefix(b"gitdir: ")?))
}

/// A path that ends with its line.
fn path_in(text: &[u8]) -> PathBuf {
    let end = text.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
    PathBuf::from(OsStr::from_bytes(&text[..end.map_or(0, |last| last + 1)]))
}
