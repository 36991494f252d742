//! What an archive is packed by: gzip, zstd, xz, or nothing.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{CWD, Mode, OFlags};

use super::error::UnpackError;
use super::meter::{Limited, Tallied, Tally};
use crate::UnpackLimits;

/// What `xz -9` needs, several times over: an archive may ask for gigabytes.
const XZ_MEMORY: u64 = 512 << 20;

/// Unpacks what a stream holds, by how that begins.
pub(super) fn unpacking<'a>(mut packed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let magic = packed.fill_buf()?;
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(packed)?),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            let concatenated = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, concatenated)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(packed, stream))
        }
        _ => Box::new(packed),
    })
}

/// A file's content, unpacked as it is read.
pub fn decompressing(path: &Path) -> io::Result<Box<dyn Read>> {
    unpacking(BufReader::with_capacity(128 << 10, File::open(path)?))
}

/// The digest of a file's content, unpacked, as long as that is not too much.
pub(crate) fn diff_id(path: &Path, directory: &Path, limits: UnpackLimits) -> Result<String, UnpackError> {
    let tally = Rc::<RefCell<Tally>>::default();
    let mut sink = Tallied {
        inner: io::sink(),
        tally: tally.clone(),
    };
    decompress(path, &mut sink, directory, limits)?;
    let digest = tally.borrow().digest();
    Ok(digest)
}

/// Writes a file's content to another, unpacked, as long as that is not too much.
pub(crate) fn decompress(
    path: &Path,
    to: &mut impl Write,
    directory: &Path,
    limits: UnpackLimits,
) -> Result<(), UnpackError> {
    let file = File::open(path).map_err(UnpackError::reading)?;
    let packed = Rc::<RefCell<Tally>>::default();
    let input = Tallied {
        inner: file,
        tally: packed.clone(),
    };
    let input = BufReader::with_capacity(128 << 10, input);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let disk = rustix::fs::openat(CWD, directory, flags, Mode::empty());
    let disk = disk.map_err(|errno| UnpackError::reading(errno.into()))?;
    let mut limited = Limited::new(
        unpacking(input).map_err(UnpackError::reading)?,
        packed,
        limits,
        disk,
    );
    io::copy(&mut limited, to)
        .and_then(|_| to.flush())
        .map_err(UnpackError::reading)
}
