//! Files that hold images: which kind they are, and how the engine is given them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use super::import::Form;

/// Opens a file, unpacked if it is packed.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut file = BufReader::with_capacity(1 << 17, File::open(path)?);
    let begins = file.fill_buf()?.to_vec();
    Ok(match begins.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(file)?),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
        _ => Box::new(file),
    })
}

/// What a file is.
pub(super) fn form(path: &Path) -> io::Result<Form> {
    let none = || io::Error::new(io::ErrorKind::InvalidData, "it is no archive");
    let mut archive = tar::Archive::new(open(path)?);
    for entry in archive.entries().map_err(|_| none())? {
        let entry = entry.map_err(|_| none())?;
        let name = entry.path_bytes();
        let name = String::from_utf8_lossy(&name);
        let first = name.split('/').find(|part| !part.is_empty() && *part != ".");
        let Some(first) = first else { continue };
        let known = [
            "blobs",
            "manifest.json",
            "repositories",
            "index.json",
            "oci-layout",
        ]
        .contains(&first);
        let hex = first.trim_end_matches(".json");
        let named_by_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        return Ok(if known || named_by_digest {
            Form::Archive
        } else {
            Form::Tarball
        });
    }
    Err(none())
}

/// Writes what the engine's load takes.
pub(super) fn as_saved(
    path: &Path,
    form: Form,
    platform: Option<&str>,
    to: &mut dyn Write,
) -> io::Result<()> {
    let _ = platform;
    if form == Form::Layout {
        let mut archive = tar::Builder::new(to);
        archive.append_dir_all(".", path)?;
        return archive.finish();
    }
    io::copy(&mut open(path)?, to).map(drop)
}
