//! Records that show when they were damaged, and locks and replacements that get over whatever lies in a file's place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// How a sealed record begins; what follows is the digest of its content, a line break, and the content.
const HEADER: &[u8] = b"hm-record 1 ";

/// How many hexadecimal digits of the digest a record has.
const DIGEST: usize = 64;

/// Makes a directory, and those above it that are missing, for its owner alone, whatever the umask.
///
/// # Errors
/// When one cannot be made.
pub fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes whatever has this name; nothing is no error.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_any(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether nothing has that name.
#[must_use]
pub fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Whether something else lies where a file should.
fn is_obstructed(error: &io::Error) -> bool {
    let loops = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    let no_reader = error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error());
    error.kind() == ErrorKind::IsADirectory || loops || no_reader
}

/// The content of a file. Nothing when it is not there, or is no file: a directory, a pipe, a dangling link.
///
/// # Errors
/// When it is a file and cannot be read.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match open_existing(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) || is_obstructed(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Opens a file that is there to be read or locked, and waits for nobody where a pipe lies in its place.
///
/// # Errors
/// When it cannot be opened.
pub fn open_existing(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
        .open(path)
}

/// The digest of a file's content, in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of(file: &mut File) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    io::copy(file, &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Renames a file over another, and over whatever else lies in that place.
///
/// # Errors
/// When it cannot be renamed.
pub fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound && to.is_dir() => {
            remove_any(to)?;
            fs::rename(from, to)
        }
        renamed => renamed,
    }
}

/// Renames a directory into a place, and removes what lies there first.
///
/// # Errors
/// When it cannot be renamed.
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
pub fn rename_over_any(from: &Path, to: &Path) -> io::Result<()> {
    remove_any(to)?;
    fs::rename(from, to)
}

/// Opens a file to be locked. It is made, and so is its directory, where they are missing; what is no file goes. Where the
/// disk has no room for it, it is one in memory, for nobody else can hold what is not there: what frees room needs none.
///
/// # Errors
/// When it cannot be opened.
pub fn open_lock(path: &Path) -> io::Result<File> {
    match open_lock_file(path) {
        Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            in_memory().map_err(|_| error)
        }
        opened => opened,
    }
}

#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
fn in_memory() -> io::Result<File> {
    let file = rustix::fs::memfd_create("hm-lock", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(File::from(file))
}

#[cfg(any(not(target_os = "linux"), hm_elsewhere))]
fn in_memory() -> io::Result<File> {
    Err(ErrorKind::Unsupported.into())
}

/// As [`open_lock`], and an error on a full disk.
///
/// # Errors
/// When it cannot be opened.
pub fn open_lock_file(path: &Path) -> io::Result<File> {
    let open = || {
        OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path)
    };
    let error = match open() {
        Ok(file) => return Ok(file),
        Err(error) => error,
    };
    if is_absent(&error)
        && let Some(parent) = path.parent()
        && fs::symlink_metadata(parent).is_err()
    {
        create_private(parent)?;
        return open();
    }
    // A directory or a dangling link: no hm holds a lock on it.
    if is_obstructed(&error) || is_absent(&error) {
        remove_any(path)?;
        return open();
    }
    Err(error)
}

/// A record with the digest of its content before it.
#[must_use]
pub fn seal(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER.len() + DIGEST + 1 + content.len());
    bytes.extend_from_slice(HEADER);
    bytes.extend_from_slice(blake3::hash(content).to_hex().as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(content);
    bytes
}

/// The content of a sealed record; nothing when it was damaged, cut short, or is of another version.
#[must_use]
pub fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(HEADER)?;
    let (digest, rest) = rest.split_at_checked(DIGEST)?;
    let content = rest.strip_prefix(b"\n")?;
    (blake3::hash(content).to_hex().as_bytes() == digest).then_some(content)
}

/// The content of a sealed record that is a file; nothing when it is missing or was damaged.
///
/// # Errors
/// When it is a file and cannot be read.
pub fn read_sealed(path: &Path) -> io::Result<Option<Vec<u8>>> {
    Ok(read(path)?.and_then(|bytes| unseal(&bytes).map(<[u8]>::to_vec)))
}

/// The digest that ends a line of a list, by which a damaged one is known.
#[must_use]
pub fn line_digest(line: &[u8]) -> String {
    blake3::hash(line).to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn sealed_record_shows_every_flipped_bit_and_cut() {
        let sealed = seal(b"some content");
        assert_eq!(unseal(&sealed), Some(b"some content".as_slice()));
        for at in 0..sealed.len() {
            assert_eq!(unseal(&sealed[..at]), None);
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(unseal(&damaged), None, "bit {bit} of byte {at}");
            }
        }
        let mut longer = sealed;
        longer.push(0);
        assert_eq!(unseal(&longer), None);
    }

    #[test]
    fn lock_and_read_get_over_what_is_no_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("below/lock");
        drop(open_lock(&path).expect("its directory is made"));
        let mode = fs::metadata(dir.path().join("below")).expect("metadata").mode();
        assert_eq!(mode & 0o777, 0o700);
        type Obstacle = fn(&Path) -> io::Result<()>;
        let obstacles: [Obstacle; 4] = [
            |path| fs::create_dir(path),
            |path| std::os::unix::fs::symlink("/no/such/place", path),
            |path| std::os::unix::fs::symlink(path, path),
            |path| {
                let kind = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(rustix::fs::CWD, path, kind, rustix::fs::Mode::RWXU, 0)
                    .map_err(Into::into)
            },
        ];
        for (number, obstacle) in obstacles.into_iter().enumerate() {
            remove_any(&path).expect("it can be removed");
            obstacle(&path).expect("an obstacle");
            assert!(read(&path).expect("nothing is read").is_none(), "{number}");
            let lock = open_lock(&path).unwrap_or_else(|error| panic!("{number}: {error}"));
            lock.try_lock().expect("it can be locked");
        }
    }
}
