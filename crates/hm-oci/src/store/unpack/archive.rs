//! The entries of a tar archive, each with all that its extended headers say.
//!
//! The `tar` crate's own iterator reads extended headers of any length into memory, and splits them at line breaks,
//! which capabilities may hold; so only the fields of a header are left to it.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::error::{UnpackError, shown};

const BLOCK: usize = 512;

/// Extended headers longer than this are refused.
const LONGEST_EXTENSION: u64 = 1 << 20;

const LONGEST_NAME: usize = 4095;

/// What an archive says of one entry.
#[derive(Debug)]
pub(crate) struct Head {
    pub kind: EntryType,
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    /// Bytes of its content.
    pub size: u64,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds and nanoseconds.
    pub modified: (i64, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What extended headers said of the entry that follows them.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An archive that is read from its beginning to its end. Reading from it gives the entry's content.
#[derive(Debug)]
pub(crate) struct Archive<R> {
    input: R,
    /// Bytes of the entry's content that were not read yet, and the bytes that fill up its last block.
    left: u64,
    padding: u64,
}

impl<R: Read> Archive<R> {
    pub(crate) const fn new(input: R) -> Self {
        Self {
            input,
            left: 0,
            padding: 0,
        }
    }

    /// What it is read from.
    pub(crate) const fn input(&self) -> &R {
        &self.input
    }

    /// The next entry; nothing at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Head>, UnpackError> {
        let mut extensions = Extensions::default();
        let mut length: u64 = 0;
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = match header.entry_size() {
                Err(_) if is_blank(&header.as_old().size) => 0,
                size => size.map_err(UnpackError::reading)?,
            };
            let kind = header.entry_type();
            let extends = kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions()
                || kind.is_gnu_longname()
                || kind.is_gnu_longlink();
            if !extends {
                return self.entry(&header, kind, size, extensions).map(Some);
            }
            length = size.saturating_add(length);
            if length > LONGEST_EXTENSION {
                return Err(UnpackError::TooMuch(format!(
                    "an entry's extended headers have {length} bytes"
                )));
            }
            self.expect(size);
            let mut bytes = Vec::new();
            self.read_to_end(&mut bytes).map_err(UnpackError::reading)?;
            if kind.is_pax_local_extensions() {
                extensions.read(&bytes)?;
            } else if kind.is_gnu_longname() {
                extensions.path = Some(until_nul(&bytes));
            } else if kind.is_gnu_longlink() {
                extensions.link = Some(until_nul(&bytes));
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        kind: EntryType,
        size: u64,
        extensions: Extensions,
    ) -> Result<Head, UnpackError> {
        let size = extensions.size.unwrap_or(size);
        let path = extensions
            .path
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extensions
            .link
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());
        for name in [&path, &link] {
            if name.len() > LONGEST_NAME {
                return Err(UnpackError::TooMuch(format!(
                    "the name {} is too long",
                    shown(name)
                )));
            }
            if name.contains(&0) {
                return Err(UnpackError::Refused(format!(
                    "the name {} has a NUL in it",
                    shown(name)
                )));
            }
        }
        // Old archives mark a directory by its name alone.
        let kind = if kind == EntryType::Regular && path.ends_with(b"/") {
            EntryType::Directory
        } else {
            kind
        };
        // These have no content, whatever their headers say of their size.
        let bare = matches!(
            kind,
            EntryType::Link
                | EntryType::Symlink
                | EntryType::Char
                | EntryType::Block
                | EntryType::Directory
                | EntryType::Fifo
        );
        let size = if bare { 0 } else { size };
        self.expect(size);
        let old = header.as_old();
        let number = |field: &[u8], value: io::Result<u64>, name: &str| match value {
            Ok(value) => Ok(value),
            Err(_) if is_blank(field) => Ok(0),
            Err(_) => Err(UnpackError::Damaged(format!(
                "the {name} of {} is no number",
                shown(&path)
            ))),
        };
        Ok(Head {
            kind,
            size,
            mode: u32::try_from(number(&old.mode, header.mode().map(u64::from), "mode")?).unwrap_or(0),
            uid: extensions
                .uid
                .map_or_else(|| number(&old.uid, header.uid(), "owner"), Ok)?,
            gid: extensions
                .gid
                .map_or_else(|| number(&old.gid, header.gid(), "group"), Ok)?,
            modified: match extensions.modified {
                Some(modified) => modified,
                // One before 1970 has no form in an old header that all agree on.
                None => (i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0), 0),
            },
            xattrs: extensions.xattrs,
            path,
            link,
        })
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    /// Goes to the end of the entry.
    fn skip(&mut self) -> Result<(), UnpackError> {
        let count = self.left.saturating_add(self.padding);
        let skipped = io::copy(&mut (&mut self.input).take(count), &mut io::sink());
        if skipped.map_err(UnpackError::reading)? < count {
            return Err(UnpackError::Damaged("it ends in the middle".into()));
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>, UnpackError> {
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block.iter().all(|byte| *byte == 0) {
            return match self.block()? {
                Some(block) if block.iter().any(|byte| *byte != 0) => Err(UnpackError::Damaged(
                    "something follows the mark of its end".into(),
                )),
                _ => Ok(None),
            };
        }
        let header = Header::from_byte_slice(&block).clone();
        // The checksum is taken with blanks in its own place.
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(place, byte)| {
                if (148..156).contains(&place) {
                    32
                } else {
                    u32::from(*byte)
                }
            })
            .sum();
        match header.cksum() {
            Ok(stored) if stored == sum => Ok(Some(header)),
            _ => Err(UnpackError::Damaged("an entry's checksum is wrong".into())),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, UnpackError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(UnpackError::Damaged("it ends in the middle".into())),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(UnpackError::reading(error)),
            }
        }
        Ok(Some(block))
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        match self.input.read(&mut buffer[..most])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }
}

impl Extensions {
    /// Records of the form `LENGTH NAME=VALUE\n`, where the length counts all of it.
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), UnpackError> {
        let malformed = || UnpackError::Damaged("an extended header has no proper form".into());
        while !bytes.is_empty() {
            let blank = bytes
                .iter()
                .position(|byte| *byte == b' ')
                .ok_or_else(malformed)?;
            let length: usize = parsed(&bytes[..blank]).ok_or_else(malformed)?;
            let record = bytes.get(blank + 1..length).ok_or_else(malformed)?;
            let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or_else(malformed)?;
            self.record(&record[..equals], &record[equals + 1..])
                .ok_or_else(malformed)?;
            bytes = &bytes[length..];
        }
        if self
            .xattrs
            .iter()
            .any(|(name, _)| name.starts_with(b"GNU.sparse"))
        {
            return Err(UnpackError::Refused(
                "it has sparse files in it: pack it without `--sparse`".into(),
            ));
        }
        Ok(())
    }

    fn record(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        match name {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(parsed(value)?),
            b"uid" => self.uid = Some(parsed(value)?),
            b"gid" => self.gid = Some(parsed(value)?),
            b"mtime" => self.modified = Some(time(value)?),
            _ if name.starts_with(b"GNU.sparse") => self.xattrs.push((name.to_vec(), Vec::new())),
            _ => {
                if let Some(name) = name.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Some(())
    }
}

fn parsed<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds since 1970 with a fraction.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    Some(match (text.starts_with('-'), nanoseconds) {
        (true, 1..) => (seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds),
        _ => (seconds, nanoseconds),
    })
}

/// Whether a field was left out.
fn is_blank(field: &[u8]) -> bool {
    field.iter().all(|byte| matches!(byte, 0 | b' '))
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes[..end].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_on_both_sides_of_1970() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"1.1234567891"), Some((1, 123_456_789)));
        assert_eq!(time(b"soon"), None);
    }

    /// A header with a size of any number, and its right checksum.
    fn header(kind: EntryType, size: u64) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_path("x").expect("a name");
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    /// Fails whoever reads more than there is any reason to.
    struct Endless(u64);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += buffer.len() as u64;
            if self.0 > 64 << 20 {
                return Err(io::Error::other("more was read than any header has"));
            }
            buffer.fill(b' ');
            Ok(buffer.len())
        }
    }

    #[test]
    fn extension_sizes_that_wrap_are_refused() {
        for (first, second) in [
            (1, u64::MAX),
            (LONGEST_EXTENSION, u64::MAX),
            (0, u64::MAX),
            (2, u64::MAX - 1),
        ] {
            let mut bytes = header(EntryType::GNULongName, first);
            bytes.resize(
                512 + usize::try_from(first.next_multiple_of(512)).expect("small"),
                b'n',
            );
            bytes.extend(header(EntryType::XHeader, second));
            let mut archive = Archive::new(bytes.as_slice().chain(Endless(0)));
            let read = archive.next();
            assert!(
                matches!(read, Err(UnpackError::TooMuch(_))),
                "{first} {second}: {read:?}"
            );
        }
    }

    #[test]
    fn a_value_may_hold_a_line_break() {
        let mut extensions = Extensions::default();
        extensions
            .read(b"31 SCHILY.xattr.user.a=one\ntwo\n12 size=999\n")
            .expect("it has the proper form");
        let xattr = (b"user.a".to_vec(), b"one\ntwo".to_vec());
        assert_eq!((extensions.xattrs, extensions.size), (vec![xattr], Some(999)));
        for bad in [
            "x",
            "5 a=b",
            "99999999999999999999 a=b\n",
            "4 a\n",
            "7 a=b\n",
            "0 a=b\n",
        ] {
            let read = Extensions::default().read(bad.as_bytes());
            assert!(matches!(read, Err(UnpackError::Damaged(_))), "{bad:?}");
        }
    }
}
