//! Git's index, as it describes the source's files.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use gix_index::entry::{Mode, Stat};
use gix_index::write::{Extensions, Options};

use crate::entry::EntryKind;
use crate::frozen::Source;
use crate::manifest::{self, Kind, Record};
use crate::repository::Repository;
use crate::tracked::open_index;

const NANOSECONDS: i64 = 1_000_000_000;

/// The index with what is true of the source's files, whose root lies at `at` in the source (with a separator behind
/// it, or empty). `None` where there is no index.
pub(super) fn refreshed(
    repository: &Repository,
    source: &Source,
    at: &[u8],
) -> Result<Option<Vec<u8>>, String> {
    let Some(mut index) = open_index(&repository.index(), repository.hash)? else {
        return Ok(None);
    };
    for (entry, path) in index.entries_mut_with_paths() {
        if !matches!(entry.mode, Mode::FILE | Mode::FILE_EXECUTABLE | Mode::SYMLINK) {
            continue;
        }
        let path = [at, path].concat();
        let Some(record) = source.record(&path) else {
            continue;
        };
        let is_link = entry.mode == Mode::SYMLINK;
        if is_link != (record.kind == Kind::Symlink) || record.kind == Kind::Directory {
            continue;
        }
        if is_described(&entry.stat, &record) {
            continue;
        }
        let id = blob(source, &path, repository.hash).map_err(|error| error.to_string())?;
        if id.is_some_and(|id| id == entry.id) {
            entry.stat = described(&record);
        } else if entry.stat.mtime.secs == seconds(&record) && entry.stat.size == size(&record) {
            // It differs, and neither size nor time would tell: no file has a size of zero and other content.
            entry.stat.size = 0;
        }
    }
    written(&index).map(Some)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as git does it"
)]
fn seconds(record: &Record) -> u32 {
    record.stat.mtime.div_euclid(NANOSECONDS) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "as git does it")]
const fn size(record: &Record) -> u32 {
    record.stat.size as u32
}

/// Whether git would take a file of the worktree for what it knows, unread. Git's own check of files that changed
/// in the second in which the index was written stays with git: the index keeps its time.
#[expect(clippy::cast_possible_truncation, reason = "as git does it")]
fn is_described(stat: &Stat, record: &Record) -> bool {
    let known = described(record);
    stat.mtime.secs == known.mtime.secs
        && (stat.mtime.nsecs == 0 || stat.mtime.nsecs == known.mtime.nsecs)
        && stat.ctime.secs == known.ctime.secs
        && (stat.ctime.nsecs == 0 || stat.ctime.nsecs == known.ctime.nsecs)
        && stat.size == known.size
        && stat.ino == record.stat.ino as u32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as git does it"
)]
fn described(record: &Record) -> Stat {
    let time = |nanoseconds: i64| gix_index::entry::stat::Time {
        secs: nanoseconds.div_euclid(NANOSECONDS) as u32,
        nsecs: nanoseconds.rem_euclid(NANOSECONDS) as u32,
    };
    Stat {
        mtime: time(record.stat.mtime),
        ctime: time(record.stat.ctime),
        size: size(record),
        ino: record.stat.ino as u32,
        ..Stat::default()
    }
}

/// The index at `path` of a source for whoever lays files with other modification times: `laid` makes each one's seconds of
/// its nanoseconds. `None` where there is nothing to change, or the length would.
pub(crate) fn with_times(source: &Source, path: &[u8], laid: impl Fn(i64) -> i64) -> Option<Vec<u8>> {
    let git = path.strip_suffix(b"index")?;
    let root = git.strip_suffix(b".git/")?;
    let file = source.file(path)?;
    let config = std::fs::read(source.file(&[git, b"config"].concat())?).ok()?;
    let config = String::from_utf8_lossy(&config).to_ascii_lowercase();
    let is_sha256 = config.contains("objectformat") && config.contains("sha256");
    let hash = if is_sha256 {
        gix_hash::Kind::Sha256
    } else {
        gix_hash::Kind::Sha1
    };
    let mut index = open_index(&file, hash).ok()??;
    let mut is_changed = false;
    for (entry, path) in index.entries_mut_with_paths() {
        let Some(record) = source.record(&[root, path].concat()) else {
            continue;
        };
        let Ok(secs) = u32::try_from(laid(record.stat.mtime)) else {
            continue;
        };
        if record.kind == Kind::Directory || secs == seconds(&record) {
            continue;
        }
        is_changed = true;
        if entry.stat.mtime.secs == seconds(&record) {
            entry.stat.mtime = gix_index::entry::stat::Time { secs, nsecs: 0 };
        } else if entry.stat.mtime.secs == secs {
            // What git takes for changed here is to seem so there.
            entry.stat.size = 0;
        }
    }
    let bytes = is_changed.then(|| written(&index))?.ok()?;
    let length = std::fs::metadata(&file).ok()?.len();
    (bytes.len() as u64 == length).then_some(bytes)
}

fn written(index: &gix_index::File) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let options = Options {
        extensions: Extensions::Given {
            tree_cache: true,
            end_of_index_entry: false,
        },
        skip_hash: false,
    };
    index
        .write_to(&mut bytes, options)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The name that git gives to a file's content, or to a link's target.
fn blob(source: &Source, path: &[u8], hash: gix_hash::Kind) -> std::io::Result<Option<gix_hash::ObjectId>> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let Some(entry) = source.get(path) else {
        return Ok(None);
    };
    let mut hasher = gix_hash::hasher(hash);
    match entry.kind {
        EntryKind::File { size, .. } => {
            hasher.update(format!("blob {size}\0").as_bytes());
            let mut file = source.open(path).map_err(std::io::Error::other)?;
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = file.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                hasher.update(buffer.get(..count).unwrap_or_default());
            }
        }
        EntryKind::Symlink { target } => {
            let target = target.as_os_str().as_bytes();
            hasher.update(format!("blob {}\0", target.len()).as_bytes());
            hasher.update(target);
        }
        EntryKind::Directory => return Ok(None),
    }
    Ok(hasher.try_finalize().ok())
}

/// What an index says, in a form that no file's times and inodes are in.
pub(super) fn digest(index: &Path, hash: gix_hash::Kind, hasher: &mut blake3::Hasher) -> Result<(), String> {
    let Some(index) = open_index(index, hash)? else {
        return Ok(());
    };
    for entry in index.entries() {
        let path = entry.path(&index);
        hasher.update(&(path.len() as u64).to_le_bytes()).update(path);
        let at_rest = gix_index::entry::Flags::INTENT_TO_ADD | gix_index::entry::Flags::SKIP_WORKTREE;
        hasher
            .update(&entry.mode.bits().to_le_bytes())
            .update(&entry.stage_raw().to_le_bytes())
            .update(&(entry.flags & at_rest).bits().to_le_bytes())
            .update(entry.id.as_bytes());
    }
    Ok(())
}

/// The time at which a file was last written; of one that is not there, none.
pub(super) fn modified(path: &Path) -> Option<manifest::Stat> {
    let stat = rustix::fs::stat(path).ok()?;
    Some(crate::scan::stat_of(&stat))
}
