//! Committed changes outlive a power cut: many of them by one write to the disk.
//!
//! A commit appends to SQLite's write-ahead log, which with `synchronous = NORMAL` only a checkpoint brings onto the disk. With `FULL`
//! each commit would, one after the other, while everybody else waits for the only connection that writes. So whoever
//! changed something waits here, after the connection is free again: one `fdatasync` of the write-ahead log does for all
//! who came before it began. What a crash leaves of later commits is cut off by their checksums.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Brings a write-ahead log onto the disk.
#[derive(Debug, Clone)]
pub(super) struct Durable {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// How many have come.
    asked: AtomicU64,
    turn: Mutex<Turn>,
}

#[derive(Debug)]
struct Turn {
    /// How many of those who came are served.
    served: u64,
    /// What the disk said once. After that nobody knows what of the log is on it.
    failed: Option<io::ErrorKind>,
}

impl Durable {
    /// For the database file at this path, whose write-ahead log is there already.
    pub(super) fn new(database: &Path) -> io::Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-wal");
        if let Some(directory) = database.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The files are as new as the directory's entries for them.
            File::open(directory)?.sync_all()?;
        }
        Ok(Self {
            shared: Arc::new(Shared {
                path: path.into(),
                asked: AtomicU64::new(0),
                turn: Mutex::new(Turn {
                    served: 0,
                    failed: None,
                }),
            }),
        })
    }

    /// Waits until all that is committed by now is on the disk.
    pub(super) async fn wait(&self) -> io::Result<()> {
        let mine = self.shared.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut turn = self.shared.turn.lock().await;
        if let Some(failed) = turn.failed {
            let what = "the disk failed earlier; see to it and start the server again";
            return Err(io::Error::new(failed, what));
        }
        if turn.served >= mine {
            return Ok(());
        }
        let all = self.shared.asked.load(Ordering::SeqCst);
        let path = self.shared.path.clone();
        let synced = tokio::task::spawn_blocking(move || sync(&path)).await;
        if let Err(error) = synced.unwrap_or_else(|error| Err(io::Error::other(error))) {
            turn.failed = Some(error.kind());
            return Err(error);
        }
        turn.served = all;
        Ok(())
    }
}

fn sync(log: &Path) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(log) {
        Ok(file) => file.sync_data(),
        // The last connection has closed, which brings everything into the database itself.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_together_is_served_together() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("x");
        File::create(directory.path().join("x-wal")).unwrap();
        let durable = Durable::new(&database).unwrap();
        futures::future::try_join_all((0..100).map(|_| durable.wait()))
            .await
            .unwrap();
        let turn = durable.shared.turn.lock().await;
        assert_eq!(turn.served, 100);
    }

    #[tokio::test]
    async fn after_the_disk_failed_nothing_is_promised() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("x");
        let log = directory.path().join("x-wal");
        let durable = Durable::new(&database).unwrap();
        durable.wait().await.unwrap();
        // What cannot be opened stands for a disk that fails.
        fs::create_dir(&log).unwrap();
        assert!(durable.wait().await.is_err());
        fs::remove_dir(&log).unwrap();
        assert!(durable.wait().await.is_err());
    }
}
