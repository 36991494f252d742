//! Which paths git tracks: a file that was added in spite of `.gitignore` belongs to the tree.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use gix_ignore::glob::pattern::Case;
use gix_index::entry::Mode;

use super::error::SourceError;
use super::repository::Repository;

/// The paths of git's index, sorted.
#[derive(Debug)]
struct Tracked {
    names: Vec<u8>,
    paths: Vec<(Range<usize>, Mode)>,
    case: Case,
}

impl Tracked {
    /// Reads an index of any version, split ones and those of SHA-256 repositories included. One that is not
    /// there tracks nothing, for git too.
    fn read(repository: &Repository) -> Result<Self, String> {
        let mut tracked = Self {
            names: Vec::new(),
            paths: Vec::new(),
            case: repository.case,
        };
        let Some(index) = open_index(&repository.index(), repository.hash)? else {
            return Ok(tracked);
        };
        for entry in index.entries() {
            let start = tracked.names.len();
            tracked.names.extend_from_slice(entry.path(&index));
            tracked.paths.push((start..tracked.names.len(), entry.mode));
        }
        if tracked.case == Case::Fold {
            tracked.names.make_ascii_lowercase();
        }
        let Self { names, paths, .. } = &mut tracked;
        paths.sort_by(|(one, _), (other, _)| names[one.clone()].cmp(&names[other.clone()]));
        Ok(tracked)
    }

    fn first(&self, path: &[u8]) -> (usize, Vec<u8>) {
        let mut path = path.to_vec();
        if self.case == Case::Fold {
            path.make_ascii_lowercase();
        }
        let first = self
            .paths
            .partition_point(|(range, _)| self.name(range) < path.as_slice());
        (first, path)
    }

    fn name(&self, range: &Range<usize>) -> &[u8] {
        self.names.get(range.clone()).unwrap_or_default()
    }

    /// Whether this very path is tracked, as something that is accepted. Where names fold, it may be several things.
    fn has(&self, path: &[u8], accepted: impl Fn(Mode) -> bool) -> bool {
        let (first, path) = self.first(path);
        let same = self.paths.iter().skip(first);
        same.take_while(|(range, _)| self.name(range) == path)
            .any(|(_, mode)| accepted(*mode))
    }

    /// Whether anything below this directory is tracked.
    fn has_below(&self, directory: &[u8]) -> bool {
        let (first, directory) = self.first(&[directory, b"/"].concat());
        self.paths
            .get(first)
            .is_some_and(|(range, _)| self.name(range).starts_with(&directory))
    }
}

/// Opens git's index; `None` where there is none. Its checksum is not compared, as git itself does not.
pub(super) fn open_index(path: &Path, hash: gix_hash::Kind) -> Result<Option<gix_index::File>, String> {
    match path.symlink_metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    }
    let options = gix_index::decode::Options {
        // One thread takes no notice of the offsets that an index states of itself.
        thread_limit: Some(1),
        ..gix_index::decode::Options::default()
    };
    gix_index::File::at(path, hash, true, options)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// One repository of a worktree, whose index is read when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct Scope {
    repository: Option<Repository>,
    /// How many bytes of a path name the repository's own directory, separator included.
    skip: usize,
    tracked: OnceLock<Result<Tracked, String>>,
}

impl Scope {
    pub fn new(repository: Option<Repository>, skip: usize) -> Self {
        Self {
            repository,
            skip,
            tracked: OnceLock::new(),
        }
    }

    /// How names are compared.
    pub fn case(&self) -> Case {
        self.repository
            .as_ref()
            .map_or(Case::Sensitive, |repository| repository.case)
    }

    fn tracked(&self) -> Result<Option<&Tracked>, SourceError> {
        let Some(repository) = &self.repository else {
            return Ok(None);
        };
        let tracked = self.tracked.get_or_init(|| Tracked::read(repository));
        tracked.as_ref().map(Some).map_err(|reason| SourceError::Index {
            path: repository.index(),
            reason: reason.clone(),
        })
    }

    /// Whether git tracks a path, or anything in it.
    pub fn tracks(&self, path: &[u8], is_directory: bool) -> Result<bool, SourceError> {
        let Some(tracked) = self.tracked()? else {
            return Ok(false);
        };
        let path = path.get(self.skip..).unwrap_or_default();
        Ok(if is_directory {
            tracked.has(path, |mode| mode == Mode::COMMIT) || tracked.has_below(path)
        } else {
            tracked.has(path, |_| true)
        })
    }

    /// Whether git tracks files below a directory, which is then no repository of its own for it. Where names fold, files
    /// may seem to lie below a submodule, which stays one.
    pub fn tracks_below(&self, path: &[u8]) -> Result<bool, SourceError> {
        let Some(tracked) = self.tracked()? else {
            return Ok(false);
        };
        let path = path.get(self.skip..).unwrap_or_default();
        Ok(tracked.has_below(path) && !tracked.has(path, |mode| mode == Mode::COMMIT))
    }
}
