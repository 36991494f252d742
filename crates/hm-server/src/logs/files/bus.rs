//! All logs in a directory.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::layout;
use super::reader::FileReader;
use super::writer::{Writer, sync_directory};
use crate::BuildId;
use crate::logs::{LogBus, LogError, LogReader, MAX_RECORD_BYTES, Result};

/// How many logs stay open that nobody uses at the moment.
const OPEN: usize = 256;

/// A [`LogBus`] in a directory, for one process.
#[derive(Debug)]
pub struct FileLogBus {
    root: PathBuf,
    open: Mutex<HashMap<BuildId, Arc<Log>>>,
}

#[derive(Debug)]
struct Log {
    /// Nothing after a failed write: the end must be found again.
    writer: Mutex<Option<Writer>>,
    head: watch::Sender<u64>,
}

impl FileLogBus {
    /// A bus whose logs are in this directory; it is made when the first record comes.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            open: Mutex::default(),
        }
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<BuildId, Arc<Log>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn log(&self, build: BuildId) -> Result<Arc<Log>> {
        if let Some(log) = self.opened().get(&build) {
            return Ok(Arc::clone(log));
        }
        let directory = layout::directory(&self.root, build);
        let writer = blocking(build, move || Writer::open(directory)).await?;
        let head = watch::Sender::new(writer.head());
        let log = Arc::new(Log {
            writer: Mutex::new(Some(writer)),
            head,
        });
        let mut open = self.opened();
        if open.len() >= OPEN {
            // What somebody appends to or follows has another owner.
            open.retain(|_, log| Arc::strong_count(log) > 1 || log.head.receiver_count() > 0);
        }
        // Another task may have been faster; there is one writer.
        Ok(Arc::clone(open.entry(build).or_insert(log)))
    }
}

async fn blocking<T: Send + 'static>(
    build: BuildId,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|source| LogError::Io { build, source })
}

fn check(build: BuildId, records: &[Bytes]) -> Result<()> {
    for record in records {
        if record.len() > MAX_RECORD_BYTES {
            let what = "is longer than 1 MiB";
            return Err(LogError::BadRecord { build, what });
        }
        if record.contains(&b'\n') || record.contains(&0) {
            let what = "holds a line break or NUL";
            return Err(LogError::BadRecord { build, what });
        }
    }
    Ok(())
}

#[async_trait]
impl LogBus for FileLogBus {
    async fn append(&self, build: BuildId, first: u64, records: &[Bytes]) -> Result<u64> {
        check(build, records)?;
        let log = self.log(build).await?;
        let directory = layout::directory(&self.root, build);
        let records = records.to_vec();
        let appended = blocking(build, move || {
            let mut guard = log.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let mut writer = match guard.take() {
                Some(writer) => writer,
                None => Writer::open(directory)?,
            };
            let known = (writer.head() + 1).checked_sub(first);
            let Some(known) = known.filter(|_| first > 0) else {
                let head = writer.head();
                *guard = Some(writer);
                return Ok(Err(head));
            };
            let new = records
                .get(usize::try_from(known).unwrap_or(usize::MAX)..)
                .unwrap_or_default();
            let head = writer.append(new)?;
            *guard = Some(writer);
            log.head
                .send_if_modified(|now| std::mem::replace(now, head) != head);
            Ok(Ok(head))
        });
        appended.await?.map_err(|head| LogError::Gap { build, head })
    }

    async fn head(&self, build: BuildId) -> Result<u64> {
        let log = self.log(build).await?;
        Ok(*log.head.borrow())
    }

    async fn read(&self, build: BuildId, from: u64) -> Result<Box<dyn LogReader>> {
        let log = self.log(build).await?;
        let directory = layout::directory(&self.root, build);
        Ok(Box::new(FileReader::new(
            build,
            directory,
            from,
            log.head.subscribe(),
        )))
    }

    async fn remove(&self, build: BuildId) -> Result<()> {
        self.opened().remove(&build);
        let directory = layout::directory(&self.root, build);
        blocking(build, move || match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            // Nobody looks for it a second time.
            Ok(()) => directory.parent().map_or(Ok(()), sync_directory),
        })
        .await
    }
}
