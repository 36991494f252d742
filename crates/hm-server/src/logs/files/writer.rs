//! Appending to one log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use bytes::Bytes;

use super::{SEGMENT_BYTES, layout};

/// The end of one log. The only one that writes to it.
#[derive(Debug)]
pub(super) struct Writer {
    directory: PathBuf,
    head: u64,
    /// The segment under way and its length.
    current: Option<(File, u64)>,
}

impl Writer {
    /// Finds a log's end, and cuts off the piece of a line that a crash left there.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        let Some(first) = layout::segments(&directory)?.last().copied() else {
            return Ok(Self {
                directory,
                head: 0,
                current: None,
            });
        };
        let path = layout::segment(&directory, first);
        let (lines, bytes) = layout::measure(&path)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        file.set_len(bytes)?;
        Ok(Self {
            directory,
            head: first - 1 + lines,
            current: Some((file, bytes)),
        })
    }

    pub(super) const fn head(&self) -> u64 {
        self.head
    }

    /// Appends whole lines. After an error the log's end must be found again.
    pub(super) fn append(&mut self, records: &[Bytes]) -> io::Result<u64> {
        if records.is_empty() {
            return Ok(self.head);
        }
        let mut lines = Vec::with_capacity(records.iter().map(|record| record.len() + 1).sum());
        for record in records {
            lines.extend_from_slice(record);
            lines.push(b'\n');
        }
        let (file, length) = self.segment()?;
        file.write_all(&lines)?;
        *length += lines.len() as u64;
        self.head += records.len() as u64;
        Ok(self.head)
    }

    fn segment(&mut self) -> io::Result<&mut (File, u64)> {
        let full = self.current.take_if(|(_, length)| *length >= SEGMENT_BYTES);
        if let Some((file, _)) = full {
            // From here on a power cut takes nothing of it.
            file.sync_data()?;
        }
        let opened = match self.current.take() {
            Some(current) => current,
            None => {
                fs::create_dir_all(&self.directory)?;
                let path = layout::segment(&self.directory, self.head + 1);
                (OpenOptions::new().append(true).create(true).open(path)?, 0)
            }
        };
        Ok(self.current.insert(opened))
    }
}
