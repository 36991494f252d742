//! The binary form of a list of paths: fixed-size records and one run of bytes for their names, read
//! in place, so that loading 100,000 of them allocates once.

use std::cmp::Ordering;
use std::path::Path;

use uuid::Uuid;

use super::error::SourceError;

/// Changes whenever the layout or the meaning of a field does: an older file is then rebuilt.
const MAGIC: &[u8; 8] = b"hmsrc\x00\x00\x01";
const CHECKSUM_END: usize = 40;
const HEADER: usize = 96;
const RECORD: usize = 88;

/// What a record stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Symlink,
    Directory,
    /// In a difference only: the base has this path, the source has not.
    Removed,
}

/// What the file system says of a path. Times are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stat {
    pub size: u64,
    pub mtime: i64,
    pub ctime: i64,
    pub ino: u64,
    pub mode: u32,
}

/// One path's record, without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub kind: Kind,
    /// It lies in the delta, not in the base.
    pub delta: bool,
    /// It changed so shortly before it was read that a later change may bear the same times.
    pub racy: bool,
    pub stat: Stat,
    /// BLAKE3 of a file's content or of a link's target.
    pub digest: [u8; 32],
}

/// What a manifest says as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Header {
    /// Regular files and links of the whole source.
    pub files: u64,
    /// Bytes of its regular files.
    pub bytes: u64,
    /// The base below, or this base itself.
    pub base: Uuid,
    /// The delta, where there is one.
    pub delta: Option<Uuid>,
}

/// A sorted list of records.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    bytes: Vec<u8>,
    count: usize,
    header: Header,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(found) = bytes.get(at..at + N) {
        out.copy_from_slice(found);
    }
    out
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

impl Header {
    /// Reads the header alone, without the checksum: enough to know what a manifest refers to.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER || &bytes[..8] != MAGIC {
            return None;
        }
        let delta = Uuid::from_bytes(array(bytes, 80));
        Some(Self {
            files: u64_at(bytes, 48),
            bytes: u64_at(bytes, 56),
            base: Uuid::from_bytes(array(bytes, 64)),
            delta: (!delta.is_nil()).then_some(delta),
        })
    }
}

impl Manifest {
    /// Takes what a file holds; `None` when it is damaged or of another version.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let header = Header::parse(&bytes)?;
        if blake3::hash(&bytes[CHECKSUM_END..]).as_bytes() != &bytes[8..CHECKSUM_END] {
            return None;
        }
        let count = usize::try_from(u64_at(&bytes, 40)).ok()?;
        let names = HEADER.checked_add(count.checked_mul(RECORD)?)?;
        (names <= bytes.len()).then_some(Self { bytes, count, header })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn len(&self) -> usize {
        self.count
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn names(&self, index: usize) -> (&[u8], usize) {
        let at = HEADER + index * RECORD;
        let offset = u32_at(&self.bytes, at) as usize;
        let start = HEADER + self.count * RECORD + offset;
        (self.bytes.get(start..).unwrap_or_default(), at)
    }

    pub fn path(&self, index: usize) -> &[u8] {
        let (names, at) = self.names(index);
        names
            .get(..u32_at(&self.bytes, at + 4) as usize)
            .unwrap_or_default()
    }

    /// Where a link points; empty for anything else.
    pub fn target(&self, index: usize) -> &[u8] {
        let (names, at) = self.names(index);
        let start = u32_at(&self.bytes, at + 4) as usize;
        let end = start + u32_at(&self.bytes, at + 8) as usize;
        names.get(start..end).unwrap_or_default()
    }

    pub fn record(&self, index: usize) -> Record {
        let at = HEADER + index * RECORD;
        let bytes = self.bytes.get(at..at + RECORD).unwrap_or_default();
        let flags = bytes.get(13).copied().unwrap_or_default();
        Record {
            kind: match bytes.get(12) {
                Some(1) => Kind::File,
                Some(2) => Kind::Symlink,
                Some(3) => Kind::Directory,
                _ => Kind::Removed,
            },
            delta: flags & 1 != 0,
            racy: flags & 2 != 0,
            stat: Stat {
                size: u64_at(bytes, 16),
                mtime: i64::from_le_bytes(array(bytes, 24)),
                ctime: i64::from_le_bytes(array(bytes, 32)),
                ino: u64_at(bytes, 40),
                mode: u32_at(bytes, 48),
            },
            digest: array(bytes, 56),
        }
    }

    /// The first index whose path is not before `path`, and whether it is that very path.
    pub fn search(&self, path: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match order(self.path(middle), path) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }
}

/// The order of paths: by components, so that a directory is followed by all that is in it.
pub(super) fn order(a: &[u8], b: &[u8]) -> Ordering {
    let shared = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    // A name holds no NUL: with the separator in its place, a directory's content follows it at once.
    let rank = |byte: Option<&u8>| match byte {
        None => 0u16,
        Some(b'/') => 1,
        Some(byte) => u16::from(*byte) + 2,
    };
    rank(a.get(shared)).cmp(&rank(b.get(shared)))
}

/// Puts a manifest together; paths must come in [`order`].
#[derive(Debug, Default)]
pub(super) struct Builder {
    records: Vec<u8>,
    names: Vec<u8>,
    count: usize,
}

impl Builder {
    pub fn push(&mut self, path: &[u8], target: &[u8], record: &Record) {
        let mut bytes = [0u8; RECORD];
        // `finish` refuses a manifest whose names have outgrown these fields.
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        bytes[0..4].copy_from_slice(&small(self.names.len()));
        bytes[4..8].copy_from_slice(&small(path.len()));
        bytes[8..12].copy_from_slice(&small(target.len()));
        bytes[12] = match record.kind {
            Kind::File => 1,
            Kind::Symlink => 2,
            Kind::Directory => 3,
            Kind::Removed => 4,
        };
        bytes[13] = u8::from(record.delta) | (u8::from(record.racy) << 1);
        bytes[16..24].copy_from_slice(&record.stat.size.to_le_bytes());
        bytes[24..32].copy_from_slice(&record.stat.mtime.to_le_bytes());
        bytes[32..40].copy_from_slice(&record.stat.ctime.to_le_bytes());
        bytes[40..48].copy_from_slice(&record.stat.ino.to_le_bytes());
        bytes[48..52].copy_from_slice(&record.stat.mode.to_le_bytes());
        bytes[56..88].copy_from_slice(&record.digest);
        self.records.extend_from_slice(&bytes);
        self.names.extend_from_slice(path);
        self.names.extend_from_slice(target);
        self.count += 1;
    }

    pub fn finish(self, header: Header, worktree: &Path) -> Result<Manifest, SourceError> {
        if u32::try_from(self.names.len()).is_err() {
            return Err(SourceError::TooLarge {
                path: worktree.to_owned(),
            });
        }
        let mut bytes = Vec::with_capacity(HEADER + self.records.len() + self.names.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 32]);
        bytes.extend_from_slice(&(self.count as u64).to_le_bytes());
        bytes.extend_from_slice(&header.files.to_le_bytes());
        bytes.extend_from_slice(&header.bytes.to_le_bytes());
        bytes.extend_from_slice(header.base.as_bytes());
        bytes.extend_from_slice(header.delta.unwrap_or_default().as_bytes());
        bytes.extend_from_slice(&self.records);
        bytes.extend_from_slice(&self.names);
        let checksum = blake3::hash(&bytes[CHECKSUM_END..]);
        bytes[8..CHECKSUM_END].copy_from_slice(checksum.as_bytes());
        Ok(Manifest {
            bytes,
            count: self.count,
            header,
        })
    }
}
