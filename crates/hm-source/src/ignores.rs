//! Which paths git would ignore: `.gitignore` files, the innermost first, then `.git/info/exclude`, then
//! `core.excludesFile`, the repository's own or else the user's where the caller names one.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gix_ignore::glob::Pattern;
use gix_ignore::glob::pattern::{Case, Mode as PatternMode};
use gix_ignore::glob::wildmatch;
use gix_ignore::glob::wildmatch::Mode;

use super::repository::Repository;

/// The patterns that hold in one directory, and those it inherits.
#[derive(Debug)]
pub(super) struct Ignores {
    outer: Option<Arc<Ignores>>,
    patterns: Vec<Pattern>,
    /// How many bytes of a path name the directory that the patterns are relative to.
    skip: usize,
    case: Case,
}

impl Ignores {
    /// Adds the patterns of the directory whose path is `skip` bytes long, separator included.
    pub fn enter(outer: Option<Arc<Self>>, text: &[u8], skip: usize, case: Case) -> Option<Arc<Self>> {
        // Git ends the last line too.
        let text = [text, b"\n"].concat();
        // No file is precious: git has no such patterns yet.
        let patterns: Vec<Pattern> = gix_ignore::parse(&text, false)
            .map(|(pattern, ..)| pattern)
            .collect();
        if patterns.is_empty() {
            return outer;
        }
        Some(Arc::new(Self {
            outer,
            patterns,
            skip,
            case,
        }))
    }

    /// Whether git would leave this path out.
    pub fn leaves_out(&self, path: &[u8], is_directory: bool) -> bool {
        let mut next = Some(self);
        while let Some(ignores) = next {
            let relative = path.get(ignores.skip..).unwrap_or_default();
            let basename = relative.iter().rposition(|byte| *byte == b'/').map(|at| at + 1);
            let matched = ignores.patterns.iter().rev().find(|pattern| {
                stars_after_name(pattern, relative, is_directory, ignores.case).unwrap_or_else(|| {
                    pattern.matches_repo_relative_path(
                        relative.into(),
                        basename,
                        Some(is_directory),
                        ignores.case,
                        Mode::NO_MATCH_SLASH_LITERAL,
                    )
                })
            });
            match matched {
                Some(pattern) => return !pattern.is_negative(),
                None => next = ignores.outer.as_deref(),
            }
        }
        false
    }
}

/// Whether a path matches a pattern with a slash in which `**` follows a part of a name, as in `a**/*`. Git compares what
/// stands before the first wildcard by itself, and so takes the stars for the whole component that follows a slash;
/// `None`: the pattern is no such one.
fn stars_after_name(pattern: &Pattern, path: &[u8], is_directory: bool, case: Case) -> Option<bool> {
    let literal = pattern.first_wildcard_pos?;
    let (name, stars) = pattern.text.split_at_checked(literal)?;
    let of_one_component = pattern.mode.contains(PatternMode::NO_SUB_DIR);
    if of_one_component || !stars.starts_with(b"**") || name.is_empty() || name.ends_with(b"/") {
        return None;
    }
    let Some((begins, rest)) = path.split_at_checked(literal) else {
        return Some(false);
    };
    let (is_same, mode) = match case {
        Case::Sensitive => (begins == name, Mode::NO_MATCH_SLASH_LITERAL),
        Case::Fold => (
            begins.eq_ignore_ascii_case(name),
            Mode::NO_MATCH_SLASH_LITERAL | Mode::IGNORE_CASE,
        ),
    };
    let must_be_directory = pattern.mode.contains(PatternMode::MUST_BE_DIR);
    Some((is_directory || !must_be_directory) && is_same && wildmatch(stars.into(), rest.into(), mode))
}

/// What holds outside the worktree.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct User<'a> {
    /// The user's own list of ignored files.
    pub excludes: Option<&'a Path>,
    /// What `~` stands for in a repository's configuration.
    pub home: Option<&'a Path>,
}

/// What holds above a worktree's root.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// The patterns to start with.
    pub ignores: Option<Arc<Ignores>>,
    /// The root's path within the repository it lies in, with a separator behind it; else empty.
    pub prefix: Vec<u8>,
    /// The repository.
    pub repository: Option<Repository>,
}

/// Reads what a repository around or at `root` says.
pub(super) fn surroundings(root: &Path, user: User<'_>) -> Surroundings {
    let Some(repository) = Repository::around(root, user.home) else {
        let global = user.excludes.and_then(|path| fs::read(path).ok());
        return Surroundings {
            ignores: global.and_then(|text| Ignores::enter(None, &text, 0, Case::Sensitive)),
            ..Surroundings::default()
        };
    };
    let mut ignores = repository_wide(&repository, user, 0);
    let below = root.strip_prefix(&repository.root).unwrap_or(Path::new(""));
    let mut prefix = Vec::new();
    let mut directory = repository.root.clone();
    for part in below.components() {
        if let Some(text) = read_patterns(&directory.join(".gitignore")) {
            ignores = Ignores::enter(ignores, &text, prefix.len(), repository.case);
        }
        directory.push(part);
        prefix.extend_from_slice(part.as_os_str().as_bytes());
        prefix.push(b'/');
    }
    Surroundings {
        ignores,
        prefix,
        repository: Some(repository),
    }
}

/// What holds in all of one repository, whose own path is `skip` bytes long, separator included.
pub(super) fn repository_wide(repository: &Repository, user: User<'_>, skip: usize) -> Option<Arc<Ignores>> {
    let add = |outer, path: Option<PathBuf>| match path.and_then(|path| fs::read(path).ok()) {
        Some(text) => Ignores::enter(outer, &text, skip, repository.case),
        None => outer,
    };
    let own = repository.excludes_file.clone();
    let excludes = own.or_else(|| user.excludes.map(Path::to_owned));
    add(add(None, excludes), Some(repository.exclude_file()))
}

/// A `.gitignore` above the worktree; git follows no link that bears the name.
fn read_patterns(file: &Path) -> Option<Vec<u8>> {
    file.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
    fs::read(file).ok()
}
