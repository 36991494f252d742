//! A layer of an image, entry by entry.

use std::io::Write;

use tar::{EntryType, Header};

/// How a layer's archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

/// A layer in the making. Its names are written as they are given, however hostile they are.
#[derive(Debug, Clone)]
pub struct Layer {
    archive: Vec<u8>,
    packing: Packing,
    modified: u64,
    owner: (u64, u64),
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer {
    /// An empty layer, packed by gzip.
    #[must_use]
    pub fn new() -> Self {
        Self {
            archive: Vec::new(),
            packing: Packing::Gzip,
            modified: 1_000_000_000,
            owner: (0, 0),
        }
    }

    /// A layer from an archive that somebody else wrote.
    #[must_use]
    pub fn of_archive(archive: Vec<u8>) -> Self {
        Self {
            archive,
            ..Self::new()
        }
    }

    /// Packs it in another way.
    #[must_use]
    pub fn packed(mut self, packing: Packing) -> Self {
        self.packing = packing;
        self
    }

    /// The owner of what follows.
    #[must_use]
    pub fn owned_by(mut self, user: u64, group: u64) -> Self {
        self.owner = (user, group);
        self
    }

    /// The modification time of what follows, in seconds.
    #[must_use]
    pub fn modified(mut self, seconds: u64) -> Self {
        self.modified = seconds;
        self
    }

    /// A file of mode 644.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_with(path, 0o644, content)
    }

    /// A file of mode 755.
    #[must_use]
    pub fn program(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_with(path, 0o755, content)
    }

    /// A file of any mode.
    #[must_use]
    pub fn file_with(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Regular, path, "", mode, content.as_ref())
    }

    /// A directory.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, path, "", mode, &[])
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, 0o777, &[])
    }

    /// A hard link to an earlier entry.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, 0o644, &[])
    }

    /// Hides a path of the layers below.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let (directory, name) = path
            .rsplit_once('/')
            .map_or(("", path), |(dir, name)| (dir, name));
        let separator = if directory.is_empty() { "" } else { "/" };
        self.file_with(&format!("{directory}{separator}.wh.{name}"), 0o600, "")
    }

    /// Hides all that the layers below have in a directory.
    #[must_use]
    pub fn opaque(self, directory: &str) -> Self {
        self.file_with(&format!("{directory}/.wh..wh..opq"), 0o600, "")
    }

    /// Gives an extended attribute to the next entry.
    #[must_use]
    pub fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// Says something of the next entry in an extended header.
    #[must_use]
    pub fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.edit(|builder| builder.append_pax_extensions([(key, value)]));
        self
    }

    /// Any entry, with names that no honest program writes.
    ///
    /// # Panics
    /// When a name is too long for a header even in GNU's form.
    #[must_use]
    pub fn entry(self, kind: EntryType, path: &str, target: &str, mode: u32, content: &[u8]) -> Self {
        self.entry_of_size(kind, path, target, mode, content, content.len() as u64)
    }

    /// An entry that says another size than it has.
    #[must_use]
    pub fn entry_of_size(
        mut self,
        kind: EntryType,
        path: &str,
        target: &str,
        mode: u32,
        content: &[u8],
        size: u64,
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(self.modified);
        header.set_size(size);
        self.edit(|builder| {
            for (long, kind) in [(path, b'L'), (target, b'K')] {
                if long.len() > 100 {
                    let mut longer = Header::new_gnu();
                    longer.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
                    longer.set_entry_type(EntryType::new(kind));
                    longer.set_size(long.len() as u64 + 1);
                    longer.set_cksum();
                    builder.append(&longer, [long.as_bytes(), b"\0"].concat().as_slice())?;
                }
            }
            let old = header.as_old_mut();
            let fill = |field: &mut [u8], text: &str| {
                let length = text.len().min(field.len());
                field[..length].copy_from_slice(&text.as_bytes()[..length]);
            };
            fill(&mut old.name, path);
            fill(&mut old.linkname, target);
            header.set_cksum();
            builder.append(&header, content)
        });
        self
    }

    /// A device node.
    #[must_use]
    pub fn device(mut self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Char);
        header.set_mode(0o666);
        header.set_size(0);
        self.edit(|builder| {
            header.set_device_major(major)?;
            header.set_device_minor(minor)?;
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, &[][..])
        });
        self
    }

    fn edit(&mut self, edit: impl FnOnce(&mut tar::Builder<Vec<u8>>) -> std::io::Result<()>) {
        let mut builder = tar::Builder::new(std::mem::take(&mut self.archive));
        let edited = edit(&mut builder);
        assert!(edited.is_ok(), "a test's layer: {edited:?}");
        // The end of the archive is written when it is asked for.
        let mut archive = builder.into_inner().unwrap_or_default();
        archive.truncate(archive.len().saturating_sub(1024));
        self.archive = archive;
    }

    /// The archive, not packed.
    #[must_use]
    pub fn archive(&self) -> Vec<u8> {
        let mut archive = self.archive.clone();
        archive.resize(archive.len() + 1024, 0);
        archive
    }

    /// The archive, packed, and its media type.
    ///
    /// # Panics
    /// When packing fails, which it does not.
    #[must_use]
    pub fn blob(&self) -> (Vec<u8>, &'static str) {
        let archive = self.archive();
        match self.packing {
            Packing::Plain => (archive, "application/vnd.oci.image.layer.v1.tar"),
            Packing::Gzip => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                let packed = gzip.write_all(&archive).and_then(|()| gzip.finish());
                (
                    packed.expect("memory can be written to"),
                    "application/vnd.oci.image.layer.v1.tar+gzip",
                )
            }
            Packing::Zstd => (
                zstd::encode_all(&archive[..], 1).expect("memory can be written to"),
                "application/vnd.oci.image.layer.v1.tar+zstd",
            ),
        }
    }
}
