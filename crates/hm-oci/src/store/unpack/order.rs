//! One archive from beginning to end.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::rc::Rc;

use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};
use tar::EntryType;

use super::archive::Archive;
use super::error::{UnpackError, shown};
use super::meter::{Limited, Tallied, Tally};
use super::names::Place;
use super::packing::unpacking;
use super::tree::{Form, Tree, has_trusted_marks};
use crate::UnpackLimits;

/// An order to unpack. Carried out where the owners of the files exist.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unpack {
    /// The file that the archive is in.
    pub archive: PathBuf,
    /// Where in that file it begins.
    pub offset: u64,
    /// How many bytes of the file it has; `None`: all that follow.
    pub length: Option<u64>,
    /// The directory to unpack into; it has to be there and empty.
    pub destination: PathBuf,
    /// What the archive is.
    pub form: Form,
    /// The digest that its packed bytes must have, where that was not looked at before.
    pub digest: Option<String>,
    /// The digest that its unpacked bytes must have.
    pub diff_id: Option<String>,
    /// What ends it.
    pub limits: UnpackLimits,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// How many entries there were.
    pub entries: u64,
    /// Bytes of the archive, unpacked.
    pub bytes: u64,
    /// The digest of those bytes.
    pub diff_id: String,
    /// Nothing of the layers below is to be seen.
    pub opaque: bool,
    /// It hides by root's attributes too, which root's overlays read.
    #[serde(default)]
    pub trusted_marks: bool,
}

/// Does it, in this process.
///
/// # Errors
/// When the archive is damaged, hostile, or too much, or a file cannot be written. What was unpacked by then is
/// left to the caller to remove.
pub fn unpack(order: &Unpack) -> Result<Unpacked, UnpackError> {
    let opening = |path: &std::path::Path| {
        let path = path.display().to_string();
        move |source: io::Error| UnpackError::Io {
            action: "cannot open",
            path,
            source,
        }
    };
    let mut file = File::open(&order.archive).map_err(opening(&order.archive))?;
    file.seek(SeekFrom::Start(order.offset))
        .map_err(opening(&order.archive))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = || {
        let opened = rustix::fs::openat(CWD, &order.destination, flags, Mode::empty());
        opened
            .map_err(io::Error::from)
            .map_err(opening(&order.destination))
    };

    let (packed, unpacked) = (Rc::<RefCell<Tally>>::default(), Rc::<RefCell<Tally>>::default());
    let part = BufReader::with_capacity(128 << 10, file).take(order.length.unwrap_or(u64::MAX));
    let input = Tallied {
        inner: part,
        tally: packed.clone(),
    };
    let input = BufReader::with_capacity(128 << 10, input);
    let limited = Limited::new(
        unpacking(input).map_err(UnpackError::reading)?,
        packed.clone(),
        order.limits,
        root()?,
    );
    let mut input = BufReader::with_capacity(
        128 << 10,
        Tallied {
            inner: limited,
            tally: unpacked.clone(),
        },
    );
    let mut tree = Tree::new(root()?, order.form);
    let entries = entries(&mut input, &mut tree, order.limits.entries)?;
    // What follows the archive's end belongs to the digests too.
    io::copy(&mut input, &mut io::sink()).map_err(UnpackError::reading)?;
    let diff_id = unpacked.borrow().digest();
    let bytes = unpacked.borrow().bytes;
    check("the unpacked archive", order.diff_id.as_ref(), &diff_id)?;
    check(
        "the packed archive",
        order.digest.as_ref(),
        &packed.borrow().digest(),
    )?;
    let opaque = tree.opaque;
    tree.finish()?;
    Ok(Unpacked {
        entries,
        bytes,
        diff_id,
        opaque,
        trusted_marks: has_trusted_marks(),
    })
}

fn check(what: &'static str, expected: Option<&String>, found: &str) -> Result<(), UnpackError> {
    match expected {
        Some(expected) if expected != found => Err(UnpackError::Digest {
            what,
            expected: expected.clone(),
            found: found.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn entries(input: impl Read, tree: &mut Tree, most: u64) -> Result<u64, UnpackError> {
    let mut archive = Archive::new(input);
    let mut entries = 0;
    while let Some(head) = archive.next()? {
        entries += 1;
        if entries > most {
            return Err(UnpackError::TooMuch(format!("it has more than {most} entries")));
        }
        let names = match tree.place(&head.path)? {
            Place::Nowhere => continue,
            Place::Here(names) => names,
            Place::Whiteout(names) => {
                tree.whiteout(&names)?;
                continue;
            }
            Place::Opaque(directory) => {
                tree.make_opaque(directory.as_ref())?;
                continue;
            }
        };
        match head.kind {
            EntryType::Regular | EntryType::Continuous => tree.file(&names, &head, &mut archive)?,
            EntryType::Directory => tree.directory(names, head)?,
            EntryType::Symlink => tree.symlink(&names, &head)?,
            EntryType::Link => tree.hard_link(&names, &head)?,
            EntryType::Fifo => tree.fifo(&names, &head)?,
            EntryType::Char | EntryType::Block if names.is_below(b"dev") => {}
            EntryType::Char | EntryType::Block => {
                return Err(UnpackError::Refused(format!(
                    "{} is a device node outside /dev",
                    shown(&head.path)
                )));
            }
            EntryType::GNUSparse => {
                return Err(UnpackError::Refused(format!(
                    "{} is a sparse file: pack it without `--sparse`",
                    shown(&head.path)
                )));
            }
            kind => {
                return Err(UnpackError::Refused(format!(
                    "{} is of an unknown kind ({})",
                    shown(&head.path),
                    char::from(kind.as_byte()).escape_debug()
                )));
            }
        }
    }
    Ok(entries)
}
