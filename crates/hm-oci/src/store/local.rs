//! Images in files: an OCI layout (a directory or an archive), and what `docker save` writes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tar::EntryType;

use super::find::parse;
use super::manifest::{Configuration, Descriptor, Document, LayerForm, check_platform, choose, is_digest};
use super::record::{Record, Tag, hex};
use super::remote::LONGEST_MANIFEST;
use super::unpack::{self, Archive};
use super::{ImageStore, files};
use hm_vm::blocking;
use hm_vm::{ImageReference, ResolvedImage, Result, VmError};

/// More files than any image has layers.
const MOST_MEMBERS: usize = 20_000;

/// An image's files, at hand.
#[derive(Debug)]
pub(super) struct Local {
    path: PathBuf,
    members: Members,
}

#[derive(Debug)]
enum Members {
    Directory,
    /// No image, but a layer: all of it.
    Whole(Option<Temporary>),
    Archive {
        /// By their names: where they begin and how long they are.
        files: HashMap<String, (u64, u64)>,
        links: HashMap<String, String>,
        /// The archive was packed: this is it, unpacked.
        unpacked: Option<Temporary>,
    },
}

/// A file that goes when this does.
#[derive(Debug)]
pub(super) struct Temporary(pub PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Where a file's bytes are.
#[derive(Debug)]
pub(super) struct Member {
    pub file: PathBuf,
    pub offset: u64,
    pub length: u64,
}

impl ImageStore {
    /// Finds what a path stands for, and pins it; nothing when it is no image but may be a root filesystem.
    ///
    /// # Errors
    /// When it is an image and cannot be read, or is for another machine.
    pub async fn resolve_path(&self, image: &ImageReference) -> Result<Option<ResolvedImage>> {
        let Some(local) = self.open_local(Path::new(image.as_str())).await? else {
            return Ok(None);
        };
        let described = local.describe(self).map_err(|reason| VmError::ImageNotFound {
            image: image.clone(),
            reason,
        })?;
        let digest = described.digest.clone();
        if self.record(&digest)?.is_none() {
            self.write_record(&described)?;
        }
        Ok(Some(ResolvedImage {
            reference: image.clone(),
            digest,
        }))
    }

    /// Takes an image from a file or a directory, all of it, and calls it `name`; nothing when it is no image.
    ///
    /// # Errors
    /// When it is damaged, hostile, or for another machine; nothing is called by that name then.
    pub async fn import(&self, path: &Path, name: &ImageReference) -> Result<Option<ResolvedImage>> {
        let canonical = parse(name)?.canonical();
        let from = ImageReference::new(path.to_string_lossy());
        let Some(found) = self.resolve_path(&from).await? else {
            return Ok(None);
        };
        self.open_image(&found).await?;
        let tag = Tag {
            reference: canonical,
            top: found.digest.clone(),
            digest: found.digest.clone(),
            platform: self.platform(),
            imported: true,
        };
        self.write_tag(&tag, &self.platform())?;
        self.forget_found();
        Ok(Some(ResolvedImage {
            reference: name.clone(),
            digest: found.digest,
        }))
    }

    pub(super) async fn open_local(&self, path: &Path) -> Result<Option<Local>> {
        let (path, store) = (path.to_owned(), self.clone());
        blocking(move || store.look_at(&path)).await
    }

    fn look_at(&self, path: &Path) -> Result<Option<Local>> {
        let cannot = |source| VmError::io("cannot open the image", path)(source);
        let metadata = std::fs::metadata(path).map_err(|error| VmError::ImageNotFound {
            image: ImageReference::new(path.to_string_lossy()),
            reason: format!(
                "{error}; it has to be an OCI layout, a `docker save` archive, a root filesystem directory or a tarball \
                 of one"
            ),
        })?;
        let local = |members| {
            Ok(Some(Local {
                path: path.to_owned(),
                members,
            }))
        };
        if metadata.is_dir() {
            if path.join("oci-layout").is_file() {
                return local(Members::Directory);
            }
            return Ok(None);
        }
        if !looks_like_an_image(path) {
            return Ok(None);
        }
        let mut file = File::open(path).map_err(cannot)?;
        let mut magic = [0; 4];
        let packed = file
            .read(&mut magic)
            .is_ok_and(|count| is_packed(&magic[..count]));
        let unpacked = if packed { Some(self.unpacked(path)?) } else { None };
        let readable = unpacked.as_ref().map_or(path, |temporary| &temporary.0);
        let (files, links) = members(readable).map_err(|reason| VmError::Corrupt {
            path: path.to_owned(),
            reason,
        })?;
        if !files.contains_key("manifest.json") && !files.contains_key("oci-layout") {
            return Ok(None);
        }
        local(Members::Archive {
            files,
            links,
            unpacked,
        })
    }

    /// Unpacks an archive beside the blobs, so that its files can be found by their places.
    fn unpacked(&self, path: &Path) -> Result<Temporary> {
        files::private_directory(self.root())?;
        let directory = self.root().join("blobs");
        hm_fs::create_private(&directory).map_err(VmError::io("cannot create", &directory))?;
        let temporary = Temporary(directory.join(format!("{}.tar", uuid::Uuid::new_v4().simple())));
        let mut to = File::create_new(&temporary.0).map_err(VmError::io("cannot create", &temporary.0))?;
        unpack::decompress(path, &mut to, &directory, self.settings().limits).map_err(|error| {
            VmError::Corrupt {
                path: path.to_owned(),
                reason: error.to_string(),
            }
        })?;
        Ok(temporary)
    }
}

fn is_packed(magic: &[u8]) -> bool {
    [
        &[0x1f, 0x8b][..],
        &[0x28, 0xb5, 0x2f, 0xfd],
        &[0xfd, b'7', b'z', b'X'],
    ]
    .iter()
    .any(|packed| magic.starts_with(packed))
}

/// Whether an archive's first entries are those of an image and not of a root filesystem. The whole of it is not
/// read for that: it may be long, and packed.
fn looks_like_an_image(path: &Path) -> bool {
    let Ok(input) = unpack::decompressing(path) else {
        return false;
    };
    let mut archive = Archive::new(input);
    for _ in 0..3 {
        let Ok(Some(head)) = archive.next() else {
            return false;
        };
        let name = String::from_utf8_lossy(&head.path).into_owned();
        let first = name
            .trim_start_matches("./")
            .split('/')
            .next()
            .unwrap_or_default();
        let hexadecimal = first.trim_start_matches("sha256:").bytes();
        let digits = hexadecimal.take_while(u8::is_ascii_hexdigit).count();
        let known = [
            "blobs",
            "oci-layout",
            "index.json",
            "manifest.json",
            "repositories",
        ];
        if digits >= 64 || known.contains(&first) {
            return true;
        }
        if !first.is_empty() {
            return false;
        }
    }
    false
}

/// Where each file of an archive lies.
#[expect(clippy::type_complexity, reason = "files and links, each by name")]
fn members(path: &Path) -> Result<(HashMap<String, (u64, u64)>, HashMap<String, String>), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut archive = Archive::new(Counted {
        inner: BufReader::with_capacity(128 << 10, file),
        count: 0,
    });
    let (mut files, mut links) = (HashMap::new(), HashMap::new());
    while let Some(head) = archive.next().map_err(|error| error.to_string())? {
        let name = plain(&String::from_utf8_lossy(&head.path));
        match head.kind {
            EntryType::Regular | EntryType::Continuous => {
                files.insert(name, (archive.input().count, head.size));
            }
            EntryType::Symlink => {
                // Old versions of Docker name a layer that they wrote before so.
                let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                let target = String::from_utf8_lossy(&head.link);
                links.insert(name.clone(), plain(&format!("{directory}/{target}")));
            }
            EntryType::Link => {
                links.insert(name, plain(&String::from_utf8_lossy(&head.link)));
            }
            _ => {}
        }
        if files.len() + links.len() > MOST_MEMBERS {
            return Err("it has too many files for an image".into());
        }
    }
    Ok((files, links))
}

/// A name without `.` and `..`.
fn plain(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl Local {
    /// A file that is one layer. `packed`: made of what lies at the path.
    pub(super) const fn whole(path: PathBuf, packed: Option<Temporary>) -> Self {
        Self {
            path,
            members: Members::Whole(packed),
        }
    }

    /// The file that everything is in.
    pub(super) fn file(&self) -> &Path {
        match &self.members {
            Members::Whole(Some(temporary))
            | Members::Archive {
                unpacked: Some(temporary),
                ..
            } => &temporary.0,
            _ => &self.path,
        }
    }

    /// Where a layer's bytes are.
    pub(super) fn find(&self, layer: &LayerForm) -> Result<Member, String> {
        if let Members::Whole(_) = self.members {
            return Ok(Member {
                file: self.file().to_owned(),
                offset: 0,
                length: layer.size,
            });
        }
        let member = match (&layer.member, &layer.digest) {
            (Some(member), _) => member.clone(),
            (None, Some(digest)) => blob(digest),
            (None, None) => return Err("it has no place".into()),
        };
        self.member(&member)
    }

    fn member(&self, name: &str) -> Result<Member, String> {
        let missing = || format!("{} has no file {name} in it", self.path.display());
        match &self.members {
            Members::Whole(_) => Err(missing()),
            Members::Directory => {
                let file = self.path.join(name);
                let metadata = std::fs::metadata(&file).map_err(|_| missing())?;
                Ok(Member {
                    length: metadata.len(),
                    offset: 0,
                    file,
                })
            }
            Members::Archive { files, links, .. } => {
                let name = plain(name);
                let found = files.get(&name).or_else(|| files.get(links.get(&name)?));
                let (offset, length) = *found.ok_or_else(missing)?;
                Ok(Member {
                    file: self.file().to_owned(),
                    offset,
                    length,
                })
            }
        }
    }

    /// A small file, whole.
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let member = self.member(name)?;
        if member.length > LONGEST_MANIFEST as u64 {
            return Err(format!("{name} in it is too long"));
        }
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&member.file)?;
            file.seek(SeekFrom::Start(member.offset))?;
            let mut bytes = Vec::new();
            file.take(member.length).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| format!("cannot read {name} in it: {error}"))
    }

    /// A small file that is named by its digest.
    fn read_blob(&self, digest: &str) -> Result<Vec<u8>, String> {
        if !is_digest(digest) {
            return Err("it names something by no sha256 digest".into());
        }
        let bytes = self.read(&blob(digest))?;
        let found = unpack::digest(&bytes);
        if found != digest {
            return Err(format!("its {digest} is damaged: the digest is {found}"));
        }
        Ok(bytes)
    }

    fn describe(&self, store: &ImageStore) -> Result<Record, String> {
        if self.member("oci-layout").is_ok() {
            self.describe_layout(store)
        } else {
            self.describe_saved(store)
        }
    }

    fn describe_layout(&self, store: &ImageStore) -> Result<Record, String> {
        let platform = store.platform();
        let index = Document::parse(&self.read("index.json")?)?;
        let Document::Index(mut manifests) = index else {
            return Err("its index.json is no index".into());
        };
        // Several names for one image are one image.
        manifests.dedup_by(|one, other| one.digest == other.digest);
        let unnamed: Vec<&Descriptor> = manifests.iter().filter(|one| one.platform.is_none()).collect();
        if unnamed.len() > 1 {
            return Err(several(unnamed.iter().map(|one| name_of(one))));
        }
        let mut chosen = choose(&manifests, &platform)?.clone();
        for _ in 0..3 {
            let bytes = self.read_blob(&chosen.digest)?;
            match Document::parse(&bytes)? {
                Document::Index(manifests) => chosen = choose(&manifests, &platform)?.clone(),
                Document::Image { config, layers } => {
                    let config = self.read_blob(&config.digest)?;
                    let record = store.describe(&chosen.digest, &config, &layers)?;
                    return Ok(record);
                }
            }
        }
        Err("its indexes name each other".into())
    }

    fn describe_saved(&self, store: &ImageStore) -> Result<Record, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Saved {
            config: String,
            repo_tags: Option<Vec<String>>,
            layers: Vec<String>,
        }
        let saved: Vec<Saved> = serde_json::from_slice(&self.read("manifest.json")?)
            .map_err(|error| format!("its manifest.json is malformed: {error}"))?;
        let [image] = saved.as_slice() else {
            let names = saved
                .iter()
                .flat_map(|image| image.repo_tags.clone().unwrap_or_default());
            return Err(several(names));
        };
        let config = self.read(&image.config)?;
        let configuration = Configuration::parse(&config)?;
        check_platform(&configuration.platform, &store.platform())?;
        if configuration.diff_ids.len() != image.layers.len() {
            return Err("its layers are not those that its configuration tells of".into());
        }
        let layers = configuration
            .diff_ids
            .iter()
            .zip(&image.layers)
            .map(|(diff_id, member)| {
                let size = self.member(member)?.length;
                Ok(LayerForm {
                    diff_id: diff_id.clone(),
                    digest: None,
                    size,
                    member: Some(member.clone()),
                })
            });
        Ok(Record {
            digest: unpack::digest(&config),
            layers: layers.collect::<Result<_, String>>()?,
            platform: configuration.platform,
            config: configuration.image,
        })
    }
}

fn blob(digest: &str) -> String {
    format!("blobs/sha256/{}", hex(digest))
}

fn name_of(descriptor: &Descriptor) -> String {
    let name = descriptor.annotations.get("org.opencontainers.image.ref.name");
    name.unwrap_or(&descriptor.digest).clone()
}

fn several(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.collect();
    format!(
        "it holds several images ({}); save the one that is meant alone",
        names.join(", ")
    )
}
