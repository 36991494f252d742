//! Appending to one log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{SEGMENT_BYTES, layout};

/// The end of one log. The only one that writes to it.
#[derive(Debug)]
pub(super) struct Writer {
    directory: PathBuf,
    head: u64,
    current: Option<Segment>,
}

/// The segment under way.
#[derive(Debug)]
struct Segment {
    file: File,
    length: u64,
    /// Whether a power cut takes nothing of it.
    synced: bool,
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
        let (lines, length) = layout::measure(&path)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        file.set_len(length)?;
        Ok(Self {
            directory,
            head: first - 1 + lines,
            current: Some(Segment {
                file,
                length,
                // Who wrote it may have been killed before it was.
                synced: false,
            }),
        })
    }

    pub(super) const fn head(&self) -> u64 {
        self.head
    }

    /// Appends whole lines. When it answers, they and all before them outlive a power cut. After an error the log is as it
    /// was, and its end must be found again.
    pub(super) fn append(&mut self, records: &[Bytes]) -> io::Result<u64> {
        if records.is_empty() {
            if let Some(segment) = &mut self.current {
                segment.sync()?;
            }
            return Ok(self.head);
        }
        let mut lines = Vec::with_capacity(records.iter().map(|record| record.len() + 1).sum());
        for record in records {
            lines.extend_from_slice(record);
            lines.push(b'\n');
        }
        let segment = self.segment()?;
        if let Err(error) = segment.append(&lines) {
            // Nothing of it was acknowledged, and what is sent again must be written again: after a failed
            // sync nobody knows what of it is on the disk.
            segment.file.set_len(segment.length)?;
            return Err(error);
        }
        self.head += records.len() as u64;
        Ok(self.head)
    }

    fn segment(&mut self) -> io::Result<&mut Segment> {
        let full = self.current.take_if(|segment| segment.length >= SEGMENT_BYTES);
        if let Some(mut full) = full {
            full.sync()?;
        }
        let opened = match self.current.take() {
            Some(current) => current,
            None => self.begin()?,
        };
        Ok(self.current.insert(opened))
    }

    /// Begins a segment. The ones before it are on the disk.
    fn begin(&self) -> io::Result<Segment> {
        hm_fs::create_private(&self.directory)?;
        let path = layout::segment(&self.directory, self.head + 1);
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let first = self.head == 0;
        // The log's own directories are as new as its first segment.
        let levels = if first { 3 } else { 1 };
        for directory in self.directory.ancestors().take(levels) {
            sync_directory(directory)?;
        }
        Ok(Segment {
            file,
            length: 0,
            synced: true,
        })
    }
}

impl Segment {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)?;
        self.synced = false;
        self.sync()?;
        self.length += lines.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if !self.synced {
            self.file.sync_data()?;
            self.synced = true;
        }
        Ok(())
    }
}

/// Brings a directory's entries onto the disk.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
