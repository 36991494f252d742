//! What all of hm's stores need of a file system: private directories, records that show when they were damaged, and locks
//! and replacements that get over whatever lies in a file's place.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// How a sealed record begins; what follows is the digest of its content, a line break, and the content.
const HEADER: &[u8] = b"hm-record 1 ";

/// How many hexadecimal digits of the digest a record has.
const DIGEST: usize = 64;

/// Directories below a data directory. `*` stands for any name.
const DIRECTORIES: &[&str] = &[
    "agents",
    "artifacts",
    "artifacts/files",
    "artifacts/files/*",
    "artifacts/runs",
    "artifacts/snapshots",
    "artifacts/snapshots/*",
    "artifacts/tmp",
    "docker",
    "docker/caches",
    "docker/images",
    "docker/locks",
    "docker/manifests",
    "docker/owners",
    "docker/seen",
    "docker/snapshots",
    "docker/sourced",
    "docker/tmp",
    "oci",
    "oci/blobs",
    "oci/images",
    "oci/l",
    "oci/layers",
    "oci/refs",
    "oci/trash",
    "plans",
    "registry",
    "registry/*",
    "registry/*/evicting",
    "registry/*/keys",
    "registry/*/leases",
    "registry/*/slots",
    "registry/*/snapshots",
    "registry/*/tmp",
    "runs",
    "sandbox",
    "sandbox/caches",
    "sandbox/caches/*",
    "sandbox/caches/*/g",
    "sandbox/empty",
    "sandbox/frames",
    "sandbox/images",
    "sandbox/images/seen",
    "sandbox/layers",
    "sandbox/live",
    "sandbox/snapshots",
    "sandbox/stage",
    "sandbox/trash",
    "server",
    "sources",
    "sources/locks",
    "sources/trees",
    "sources/trees/*",
    "sources/trees/*/bases",
    "sources/trees/*/deltas",
    "sources/trees/*/frozen",
    "sources/trees/*/tmp",
];

/// Makes a directory, and those above it that are missing, for its owner alone, whatever the umask.
///
/// # Errors
/// When one cannot be made.
pub fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Closes what lies in a data directory to everybody else: an earlier hm, or another program, may have made it open. The
/// directory itself may hold other things too: it only stops being writable by others.
///
/// # Errors
/// When its entries cannot be listed. One that belongs to somebody else stays as it is.
pub fn close_to_others(data_dir: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let Ok(metadata) = fs::metadata(data_dir) else {
        return Ok(());
    };
    let mode = metadata.mode() & 0o7777;
    let is_shared = mode & 0o1000 != 0;
    if metadata.uid() == own && mode & 0o022 != 0 && !is_shared {
        fs::set_permissions(data_dir, Permissions::from_mode(mode & !0o022))?;
    }
    for directory in DIRECTORIES.iter().filter(|directory| !directory.contains('/')) {
        close(&data_dir.join(directory), own, 0o700);
    }
    Ok(())
}

/// Takes everybody else's rights to a file or directory away, where it is this user's own.
fn close(path: &Path, own: u32, most: u32) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    let mode = metadata.mode() & 0o7777;
    if metadata.uid() == own && mode & !most != 0 && !metadata.file_type().is_symlink() {
        // One that cannot be closed is as open as it was.
        let _ = fs::set_permissions(path, Permissions::from_mode(mode & most | 0o700 & most));
    }
}

/// As [`close_to_others`], for these entries of a directory that holds nothing of others.
pub fn close_entries(directory: &Path, names: &[&str]) {
    let own = rustix::process::geteuid().as_raw();
    for name in names {
        let path = directory.join(name);
        let is_dir = path.is_dir();
        close(&path, own, if is_dir { 0o700 } else { 0o600 });
    }
}

/// Removes what lies where a data directory has a directory and is none: a file, a dangling link, a pipe. Returns how many it
/// removed.
///
/// # Errors
/// When one cannot be removed.
pub fn mend_directories(data_dir: &Path) -> io::Result<u64> {
    let mut removed = 0;
    for pattern in DIRECTORIES {
        let mut paths = vec![data_dir.to_owned()];
        for part in pattern.split('/') {
            if part == "*" {
                let entries = paths.iter().filter_map(|path| fs::read_dir(path).ok());
                paths = entries.flatten().flatten().map(|entry| entry.path()).collect();
            } else {
                paths.iter_mut().for_each(|path| path.push(part));
            }
        }
        for path in paths {
            if fs::symlink_metadata(&path).is_ok() && !path.is_dir() {
                remove_any(&path)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
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
pub(crate) fn rename_over_any(from: &Path, to: &Path) -> io::Result<()> {
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
pub(crate) fn open_lock_file(path: &Path) -> io::Result<File> {
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

    #[test]
    fn data_directory_is_closed_to_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        for directory in ["", "registry/sandbox", "sources", "other"] {
            fs::create_dir_all(data.join(directory)).expect("a directory");
            let open = Permissions::from_mode(0o777);
            fs::set_permissions(data.join(directory), open).expect("permissions");
        }
        close_to_others(&data).expect("it is closed");
        let mode = |path: &str| fs::metadata(data.join(path)).expect("metadata").mode() & 0o777;
        assert_eq!(
            ["", "registry", "sources", "other"].map(mode),
            [0o755, 0o700, 0o700, 0o777]
        );
    }

    #[test]
    fn file_in_place_of_directory_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("registry/sandbox")).expect("a directory");
        fs::write(path("registry/sandbox/keys"), "").expect("a file");
        fs::write(path("registry/sandbox/gc.lock"), "").expect("a file");
        std::os::unix::fs::symlink("/no/such/place", path("sources")).expect("a link");
        fs::create_dir_all(path("elsewhere")).expect("a directory");
        std::os::unix::fs::symlink("elsewhere", path("artifacts")).expect("a link");
        assert_eq!(mend_directories(dir.path()).expect("it is mended"), 2);
        assert!(!path("registry/sandbox/keys").exists() && path("sources").symlink_metadata().is_err());
        assert!(path("registry/sandbox/gc.lock").exists() && path("artifacts").is_dir());
        assert_eq!(mend_directories(dir.path()).expect("nothing to mend"), 0);
    }
}
