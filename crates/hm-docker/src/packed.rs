//! Files that hold images: which kind they are, and how the engine is given them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use serde_json::{Value, json};

/// The longest manifest, index or configuration.
const LONGEST: u64 = 4 << 20;

/// What a path turned out to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A root filesystem, as a directory.
    Directory,
    /// A root filesystem, packed.
    Tarball,
    /// What `docker save` writes, or a packed OCI layout.
    Archive,
    /// An OCI layout, as a directory.
    Layout,
}

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
    let mut archive = tar::Archive::new(open(path)?);
    for entry in archive.entries().map_err(|_| damaged("it is no archive"))? {
        let entry = entry.map_err(|_| damaged("it is no archive"))?;
        let name = name_of(&entry);
        let Some(first) = name.split('/').next().filter(|first| !first.is_empty()) else {
            continue;
        };
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
    Err(damaged("it is no archive"))
}

/// An entry's name without a leading `./`.
fn name_of(entry: &tar::Entry<'_, impl Read>) -> String {
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    name.trim_start_matches("./").trim_end_matches('/').to_owned()
}

fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

/// Writes what every engine's load takes, as `docker save` does: for an OCI layout with a list of what is in it.
pub(super) fn as_saved(path: &Path, form: Form, platform: &str, to: &mut dyn Write) -> io::Result<()> {
    let small = if form == Form::Layout {
        small_of_layout(path)?
    } else {
        small_of_archive(path)?
    };
    if let Some(list) = small.get("manifest.json")
        && form == Form::Archive
    {
        return without_names(path, list, to);
    }
    let manifest = choose(&small, platform)?;
    let blob = |descriptor: &Value| {
        let digest = descriptor
            .get("digest")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let (algorithm, hex) = digest.split_once(':').unwrap_or_default();
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain(algorithm) || !plain(hex) {
            return Err(damaged("its manifest names something that is no digest"));
        }
        Ok(format!("blobs/{algorithm}/{hex}"))
    };
    let config = blob(manifest.get("config").unwrap_or(&Value::Null))?;
    let layers = manifest
        .get("layers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let layers = layers.map(blob).collect::<io::Result<Vec<_>>>()?;
    let list = json!([{ "Config": config, "RepoTags": null, "Layers": layers }]).to_string();
    let mut archive = tar::Builder::new(to);
    append(&mut archive, "manifest.json", list.len() as u64, list.as_bytes())?;
    let mut wanted: Vec<_> = layers;
    wanted.push(config);
    wanted.sort();
    wanted.dedup();
    if form == Form::Layout {
        for name in wanted {
            let file = File::open(path.join(&name))?;
            append(&mut archive, &name, file.metadata()?.len(), file)?;
        }
    } else {
        for entry in tar::Archive::new(open(path)?).entries()? {
            let entry = entry?;
            let name = name_of(&entry);
            if entry.header().entry_type().is_file() && wanted.contains(&name) {
                append(&mut archive, &name, entry.size(), entry)?;
            }
        }
    }
    archive.finish()
}

/// An archive of `docker save` without the names in it: they are its user's, and the engine would give them away.
fn without_names(path: &Path, list: &[u8], to: &mut dyn Write) -> io::Result<()> {
    let mut images: Vec<serde_json::Map<String, Value>> =
        serde_json::from_slice(list).map_err(|_| damaged("its manifest.json is damaged"))?;
    let [image] = images.as_mut_slice() else {
        return Err(damaged("it holds several images, or none; save one alone"));
    };
    image.insert("RepoTags".into(), Value::Null);
    let list = json!([image]).to_string();
    let mut archive = tar::Builder::new(to);
    append(&mut archive, "manifest.json", list.len() as u64, list.as_bytes())?;
    for entry in tar::Archive::new(open(path)?).entries()? {
        let entry = entry?;
        let name = name_of(&entry);
        if ["manifest.json", "repositories", "index.json", "oci-layout"].contains(&name.as_str()) {
            continue;
        }
        let kind = entry.header().entry_type();
        if kind.is_file() {
            append(&mut archive, &name, entry.size(), entry)?;
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = entry
                .link_name()?
                .ok_or_else(|| damaged("a link in it leads nowhere"))?;
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(0);
            archive.append_link(&mut header, &name, target)?;
        }
    }
    archive.finish()
}

fn append(
    archive: &mut tar::Builder<&mut dyn Write>,
    name: &str,
    size: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(size);
    archive.append_data(&mut header, name, content.take(size))
}

/// The files that may be JSON.
type Small = HashMap<String, Vec<u8>>;

fn small_of_archive(path: &Path) -> io::Result<Small> {
    let mut small = Small::new();
    for entry in tar::Archive::new(open(path)?).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() && entry.size() <= LONGEST {
            let name = name_of(&entry);
            let mut first = [0];
            if entry.read(&mut first)? == 1 && (first == *b"{" || first == *b"[") {
                let mut content = first.to_vec();
                entry.read_to_end(&mut content)?;
                small.insert(name, content);
            }
        }
    }
    Ok(small)
}

fn small_of_layout(path: &Path) -> io::Result<Small> {
    let mut small = Small::new();
    small.insert("index.json".into(), std::fs::read(path.join("index.json"))?);
    for entry in std::fs::read_dir(path.join("blobs/sha256"))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() && metadata.len() <= LONGEST {
            let name = format!("blobs/sha256/{}", entry.file_name().to_string_lossy());
            small.insert(name, std::fs::read(entry.path())?);
        }
    }
    Ok(small)
}

/// The manifest of the image that is made for a platform.
fn choose(small: &Small, platform: &str) -> io::Result<Value> {
    let parse = |name: &str| -> io::Result<Value> {
        let content = small
            .get(name)
            .ok_or_else(|| damaged(&format!("it has no {name}")))?;
        serde_json::from_slice(content).map_err(|_| damaged(&format!("its {name} is damaged")))
    };
    let mut index = parse("index.json")?;
    // An index may list an index.
    for _ in 0..4 {
        let manifests = index
            .get("manifests")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let text = |value: &Value, key: &str| {
            value
                .pointer(&format!("/platform/{key}"))
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        };
        let fits = |descriptor: &&Value| match (text(descriptor, "os"), text(descriptor, "architecture")) {
            (Some(os), Some(architecture)) => platform.starts_with(&format!("{os}/{architecture}")),
            _ => true,
        };
        let descriptor = manifests
            .iter()
            .find(fits)
            .ok_or_else(|| damaged(&format!("it holds no image for {platform}")))?;
        let digest = descriptor
            .get("digest")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let found = parse(&format!("blobs/{}", digest.replacen(':', "/", 1)))?;
        if found.get("layers").is_some() {
            return Ok(found);
        }
        index = found;
    }
    Err(damaged("its indexes lead nowhere"))
}
