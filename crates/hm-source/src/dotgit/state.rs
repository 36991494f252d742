//! What a command can learn of a repository beside the files: what the key of a step with `.git` stands for.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::index;
use crate::frozen::Source;
use crate::manifest::Kind;

/// Of a repository, what is in the digest as it is: where `HEAD` is, how it came to be, and how git compares.
const FILES: &[&str] = &[
    "HEAD",
    "CHERRY_PICK_HEAD",
    "MERGE_HEAD",
    "REVERT_HEAD",
    "config",
    "config.worktree",
    "info/attributes",
    "info/exclude",
    "info/grafts",
    "info/sparse-checkout",
    "shallow",
];

/// The digest of every repository's `HEAD`, refs, configuration and what is staged. Objects, packs, logs and
/// the bytes of the index are not in it: `git gc` changes nothing.
pub(crate) fn digest(source: &Source, dot_gits: &[Vec<u8>]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for at in dot_gits {
        hasher.update(&(at.len() as u64).to_le_bytes()).update(at);
        repository(source, at, &mut hasher);
    }
    *hasher.finalize().as_bytes()
}

fn read(source: &Source, path: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = source.open(Path::new(OsStr::from_bytes(path))).ok()?;
    file.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn repository(source: &Source, at: &[u8], hasher: &mut blake3::Hasher) {
    let within = |name: &[u8]| [at, b"/", name].concat();
    let field = |hasher: &mut blake3::Hasher, bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    for name in FILES {
        if let Some(text) = read(source, &within(name.as_bytes())) {
            field(hasher, name.as_bytes());
            field(hasher, &text);
        }
    }
    let mut refs: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for line in read(source, &within(b"packed-refs"))
        .unwrap_or_default()
        .split(|byte| *byte == b'\n')
    {
        let mut parts = line.splitn(2, |byte| *byte == b' ');
        // A line without a name says what an annotated tag stands for, which the tag itself does.
        if let (Some(id), Some(name)) = (parts.next(), parts.next())
            && !id.starts_with(b"#")
        {
            refs.insert(name.to_vec(), id.to_vec());
        }
    }
    for (path, record) in source.records_below(&within(b"refs")) {
        if record.kind != Kind::Directory {
            let text = read(source, &path).unwrap_or_default();
            let name = path.get(at.len() + 1..).unwrap_or_default();
            refs.insert(name.to_vec(), text.trim_ascii().to_vec());
        }
    }
    for (name, id) in refs {
        field(hasher, &name);
        field(hasher, &id);
    }
    for (path, record) in source.records_below(&within(b"reftable")) {
        field(hasher, &path);
        field(hasher, &record.digest);
    }
    let config = read(source, &within(b"config")).unwrap_or_default();
    let is_sha256 = gix_config::File::from_bytes_no_includes(
        &config,
        gix_config::file::Metadata::from(gix_config::Source::Local),
        gix_config::file::init::Options::default(),
    )
    .ok()
    .and_then(|config| config.string("extensions.objectFormat"))
    .is_some_and(|name| name.eq_ignore_ascii_case(b"sha256"));
    let hash = if is_sha256 {
        gix_hash::Kind::Sha256
    } else {
        gix_hash::Kind::Sha1
    };
    let index_path = within(b"index");
    let Some(file) = source.file(&index_path) else {
        return;
    };
    // One that cannot be read was refused before.
    if index::digest(&file, hash, hasher).is_err() {
        field(hasher, &read(source, &index_path).unwrap_or_default());
    }
}
