//! The source as an archive: a gzipped POSIX tar whose bytes depend on the frozen tree alone, made while it is sent.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hm_source::{EntryKind, Source};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

use crate::{BackendError, Result};

/// How many bytes come at a time.
const PIECE: usize = 64 * 1024;
/// How many pieces wait for the network.
const PIECES: usize = 4;
/// How many of the largest paths are named when all are too much.
const NAMED: usize = 10;

/// Refuses a source of more than `cap` bytes, naming the paths that make it so large.
///
/// # Errors
/// [`BackendError::SourceTooLarge`].
pub(super) fn check_size(source: &Source, cap: u64) -> Result<()> {
    let mut sizes: Vec<(u64, &Path)> = source
        .entries()
        .filter_map(|(path, entry)| match entry.kind {
            EntryKind::File { size, .. } => Some((size, path)),
            _ => None,
        })
        .collect();
    let observed = sizes.iter().map(|(size, _)| size).sum();
    if observed <= cap {
        return Ok(());
    }
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    let largest = sizes
        .iter()
        .take(NAMED)
        .map(|(size, path)| (path.display().to_string(), *size));
    Err(BackendError::SourceTooLarge {
        observed,
        cap,
        largest: largest.collect(),
    })
}

/// The archive, piece by piece; a piece that is an error is the last.
pub(super) fn pieces(source: Arc<Source>) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut writer = Pieces {
            sender: sender.clone(),
            filling: Vec::with_capacity(PIECE),
        };
        if let Err(error) = write(&source, &mut writer).and_then(|()| writer.flush()) {
            // Nobody is left to tell when the receiver is gone.
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

/// Writes the archive: every path in the tree's order, with the worktree's times, so that what an agent builds
/// stays incremental, and nobody's name or id.
fn write(source: &Source, out: &mut impl Write) -> io::Result<()> {
    let mut tar = Builder::new(GzEncoder::new(out, Compression::fast()));
    for (path, entry) in source.entries() {
        let mut header = Header::new_gnu();
        header.set_mode(entry.mode & 0o777);
        header.set_uid(0);
        header.set_gid(0);
        match entry.kind {
            EntryKind::Directory => {
                header.set_entry_type(EntryType::Directory);
                header.set_size(0);
                tar.append_data(&mut header, path, io::empty())?;
            }
            EntryKind::Symlink { target } => {
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, path, target)?;
            }
            EntryKind::File { size, .. } => {
                let file = source.open(path).map_err(io::Error::other)?;
                header.set_entry_type(EntryType::Regular);
                header.set_size(size);
                header.set_mtime(modified(&file)?);
                tar.append_data(&mut header, path, file)?;
            }
        }
    }
    tar.into_inner()?.finish()?.flush()
}

/// Seconds since 1970.
fn modified(file: &std::fs::File) -> io::Result<u64> {
    let since = file.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH);
    Ok(since.map_or(0, |since| since.as_secs()))
}

/// Collects what is written into pieces for a channel.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    filling: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.filling.len());
        self.filling.extend_from_slice(&bytes[..taken]);
        if self.filling.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.filling.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.filling, Vec::with_capacity(PIECE));
        self.sender
            .blocking_send(Ok(piece.into()))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the archive any more"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use hm_source::{SourceOptions, SourceStore};

    use super::*;

    fn frozen(directory: &Path, files: &[(&str, &str)]) -> Source {
        let tree = directory.join("tree");
        for (path, content) in files {
            let path = tree.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, content).expect("a file");
        }
        SourceStore::new(directory.join("sources"))
            .freeze(&tree, &SourceOptions::default())
            .expect("it freezes")
    }

    fn archive(source: &Source) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(source, &mut bytes).expect("it is written");
        bytes
    }

    #[test]
    fn the_same_tree_is_the_same_bytes_and_unpacks_to_itself() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = [("a/deep/file", "one"), ("run.sh", "#!/bin/sh\n"), (".hidden", "")];
        frozen(directory.path(), &files);
        let tree = directory.path().join("tree");
        std::os::unix::fs::symlink("a/deep", tree.join("link")).expect("a link");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(tree.join("run.sh"), executable).expect("a mode");

        let one = archive(&frozen(directory.path(), &[]));
        let again = directory.path().join("again");
        std::fs::create_dir(&again).expect("a directory");
        assert_eq!(
            one,
            archive(&frozen(directory.path(), &[])),
            "it is deterministic"
        );

        tar::Archive::new(flate2::read::GzDecoder::new(&one[..]))
            .unpack(&again)
            .expect("it unpacks");
        for (path, content) in files {
            assert_eq!(
                std::fs::read_to_string(again.join(path)).expect("a file"),
                content
            );
        }
        let mode = std::fs::metadata(again.join("run.sh"))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111);
        assert_eq!(
            std::fs::read_link(again.join("link")).expect("a link"),
            Path::new("a/deep")
        );
        let times = ["tree", "again"].map(|tree| {
            let file = std::fs::File::open(directory.path().join(tree).join("run.sh")).expect("a file");
            modified(&file).expect("a time")
        });
        assert_eq!(times[0], times[1]);
    }

    #[tokio::test]
    async fn it_comes_in_pieces_of_bounded_size() {
        let directory = tempfile::tempdir().expect("a directory");
        let large: String = (0..60_000)
            .map(|number: u32| format!("{:x}", number.wrapping_mul(2_654_435_761)))
            .collect();
        let source = frozen(directory.path(), &[("large", &large), ("small", "text")]);
        let whole = archive(&source);
        let mut pieces = pieces(Arc::new(source));
        let mut together = Vec::new();
        let mut count = 0;
        while let Some(piece) = pieces.recv().await {
            let piece = piece.expect("no error");
            assert!(piece.len() <= PIECE);
            together.extend_from_slice(&piece);
            count += 1;
        }
        assert_eq!(together, whole);
        assert!(count > 2, "{count} pieces of {} bytes", whole.len());
    }

    #[test]
    fn a_source_that_is_too_large_names_its_largest_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let source = frozen(
            directory.path(),
            &[
                ("small", "1"),
                ("large", &"x".repeat(100)),
                ("larger", &"x".repeat(200)),
            ],
        );
        assert!(check_size(&source, 301).is_ok());
        let Err(BackendError::SourceTooLarge {
            observed,
            cap,
            largest,
        }) = check_size(&source, 300)
        else {
            panic!("it is taken");
        };
        assert_eq!((observed, cap), (301, 300));
        assert_eq!(
            largest[..2],
            [("larger".to_owned(), 200), ("large".to_owned(), 100)]
        );
    }
}
