//! Reading one log from a place on.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::layout;
use crate::BuildId;
use crate::logs::{LogError, LogReader, Result};

/// A place in a log's files. It holds no file open, so that a thousand who wait cost a thousand small structs.
#[derive(Debug, Clone)]
struct Place {
    directory: PathBuf,
    /// The segment that `next` is in or ends, and where in it; not known yet before the first read.
    at: Option<(u64, u64)>,
    /// The number of the next record.
    next: u64,
}

/// A [`LogReader`] over segments.
#[derive(Debug)]
pub(super) struct FileReader {
    build: BuildId,
    place: Place,
    head: watch::Receiver<u64>,
}

impl FileReader {
    pub(super) fn new(build: BuildId, directory: PathBuf, from: u64, head: watch::Receiver<u64>) -> Self {
        let place = Place {
            directory,
            at: None,
            next: from.max(1),
        };
        Self { build, place, head }
    }
}

#[async_trait]
impl LogReader for FileReader {
    async fn next(&mut self, bytes: usize) -> Result<Vec<(u64, Bytes)>> {
        let head = *self.head.borrow_and_update();
        let build = self.build;
        if self.head.has_changed().is_err() {
            return Err(LogError::Removed { build });
        }
        if self.place.next > head {
            return Ok(Vec::new());
        }
        let mut place = self.place.clone();
        let read = tokio::task::spawn_blocking(move || {
            let records = place.read(head, bytes)?;
            Ok((place, records))
        });
        let read: io::Result<_> = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let (place, records) = read.map_err(|source| LogError::Io { build, source })?;
        self.place = place;
        Ok(records)
    }

    async fn more(&mut self) {
        let next = self.place.next;
        // Of a log that is gone the next read tells.
        let _ = self.head.wait_for(|head| *head >= next).await;
    }
}

impl Place {
    fn read(&mut self, head: u64, bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let mut records = Vec::new();
        let mut taken = 0;
        while self.next <= head && taken < bytes {
            let (first, offset) = match self.at {
                Some(at) => at,
                None => find(&self.directory, self.next)?,
            };
            let mut file =
                BufReader::with_capacity(1 << 16, File::open(layout::segment(&self.directory, first))?);
            let mut offset = file.seek(SeekFrom::Start(offset))?;
            let before = self.next;
            while self.next <= head && taken < bytes {
                let mut line = Vec::new();
                let length = file.read_until(b'\n', &mut line)?;
                if line.pop() != Some(b'\n') {
                    break;
                }
                offset += length as u64;
                taken += length;
                records.push((self.next, Bytes::from(line)));
                self.next += 1;
            }
            self.at = Some((first, offset));
            if self.next == before {
                if first == self.next {
                    return Err(io::Error::other("records are missing"));
                }
                // The segment is read to its end; the next one begins with the number after it.
                self.at = Some((self.next, 0));
            }
        }
        Ok(records)
    }
}

/// The segment that has a record, and where in it the record begins.
fn find(directory: &Path, number: u64) -> io::Result<(u64, u64)> {
    let segments = layout::segments(directory)?;
    let after = segments.partition_point(|first| *first <= number);
    let missing = || io::Error::other("records are missing");
    let first = *after
        .checked_sub(1)
        .and_then(|place| segments.get(place))
        .ok_or_else(missing)?;
    let mut lines = BufReader::with_capacity(1 << 16, File::open(layout::segment(directory, first))?);
    let (mut offset, mut line) = (0, Vec::new());
    for _ in first..number {
        line.clear();
        let length = lines.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(missing());
        }
        offset += length as u64;
    }
    Ok((first, offset))
}
