//! Images made of files of this machine: loaded into the engine once for each content.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bollard::query_parameters::{CreateImageOptions, ImportImageOptions, TagImageOptions};
use futures::StreamExt;

use super::engine::{failed, found};
use super::labels::{ID, IMPORTED, REPOSITORY, ROLE, STORE, image_name};
use super::packed::{self, Form};
use super::remembered;
use super::shared::Shared;
use super::stream;
use hm_oci::Platform;
use hm_vm::{ImageReference, Result, VmError};

/// The name of the image with this digest.
pub(super) fn image_of(digest: &str) -> String {
    image_name(IMPORTED, digest.rsplit(':').next().unwrap_or(digest))
}

/// Finds out what a path's image is, and has the engine take it unless it has it already.
pub(super) async fn resolve(shared: &Shared, reference: &ImageReference) -> Result<String> {
    let path = PathBuf::from(reference.as_str());
    let refused = |reason: String| VmError::ImageNotFound {
        image: reference.clone(),
        reason,
    };
    let seen = shared.state().await?.seen();
    let looked = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || look(&path, &seen)).await
    };
    let (form, digest) = looked
        .map_err(|error| refused(error.to_string()))?
        .map_err(|error| {
            refused(format!(
                "{error}; it has to be a root filesystem directory or a tarball of one, \
                                          a `docker save` archive or an OCI layout"
            ))
        })?;
    let docker = shared.docker().await?;
    let name = image_of(&digest);
    let there = found(docker.inspect_image(&name).await).map_err(failed("cannot look for an image"))?;
    if there.is_none() {
        let state = shared.state().await?;
        let _one_at_a_time = state
            .lock(&format!(
                "import-{}",
                digest.rsplit(':').next().unwrap_or_default()
            ))
            .await?;
        let there = found(docker.inspect_image(&name).await).map_err(failed("cannot look for an image"))?;
        if there.is_none() {
            bring(shared, &path, form, &digest)
                .await
                .map_err(|error| refused(error.to_string()))?;
            remembered::remember(shared, &name, reference, &digest).await?;
        }
    }
    Ok(digest)
}

/// Has the engine take what a path holds, and names it by its digest.
async fn bring(shared: &Shared, path: &Path, form: Form, digest: &str) -> Result<()> {
    let docker = shared.docker().await?;
    let tag = digest.rsplit(':').next().unwrap_or(digest).to_owned();
    let repository = format!("{REPOSITORY}-{IMPORTED}");
    let from = path.to_owned();
    let asked = shared.config.platform.clone();
    let platform = asked.clone().unwrap_or_else(Platform::this_machine).to_string();
    if matches!(form, Form::Directory | Form::Tarball) {
        let labels = shared.labels(IMPORTED, &tag).await?;
        let options = CreateImageOptions {
            from_src: Some("-".into()),
            // Podman looks for the tag there, Docker in a field of its own.
            repo: Some(format!("{repository}:{tag}")),
            tag: Some(tag.clone()),
            changes: [STORE, ROLE, ID]
                .iter()
                .filter_map(|key| Some(format!("LABEL {key}={}", labels.get(*key)?)))
                .chain(["CMD [\"sh\"]".to_owned()])
                .collect(),
            platform: asked.map(|platform| platform.to_string()).unwrap_or_default(),
            ..CreateImageOptions::default()
        };
        let body = bollard::body_try_stream(stream::written(move |to| match form {
            Form::Directory => directory(&from, to),
            _ => io::copy(&mut packed::open(&from)?, to).map(drop),
        }));
        let mut created = Box::pin(docker.create_image(Some(options), Some(body), None));
        while let Some(said) = created.next().await {
            let said = said.map_err(failed("the engine cannot take it"))?;
            if let Some(error) = said.error_detail.and_then(|error| error.message) {
                return Err(VmError::Other(format!("the engine cannot take it: {error}")));
            }
        }
        return Ok(());
    }
    let body = stream::written(move |to| packed::as_saved(&from, form, &platform, to));
    let mut loaded = Box::pin(docker.import_image_stream(ImportImageOptions::default(), body, None));
    let mut named = None;
    while let Some(said) = loaded.next().await {
        let said = said.map_err(failed("the engine cannot load it"))?;
        if let Some(text) = said.stream {
            let name = text.trim();
            let name = name
                .strip_prefix("Loaded image: ")
                .or_else(|| name.strip_prefix("Loaded image ID: "));
            named = name.map(ToOwned::to_owned).or(named);
        }
    }
    let named = named.ok_or_else(|| VmError::Other("the engine found no image in it".into()))?;
    let options = TagImageOptions {
        repo: Some(repository),
        tag: Some(tag),
    };
    docker
        .tag_image(&named, Some(options))
        .await
        .map_err(failed("cannot name the image"))?;
    Ok(())
}

/// A directory as an archive; links are kept as links.
fn directory(path: &Path, to: &mut dyn Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    archive.follow_symlinks(false);
    archive.append_dir_all(".", path)?;
    archive.finish()
}

/// What a path holds, and the digest of that.
fn look(path: &Path, seen: &Path) -> io::Result<(Form, String)> {
    let metadata = std::fs::metadata(path)?;
    let canonical = std::fs::canonicalize(path)?;
    if metadata.is_dir() {
        if path.join("oci-layout").is_file() {
            let index = std::fs::read(path.join("index.json"))?;
            return Ok((Form::Layout, format!("layout:{}", short(&blake3::hash(&index)))));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(canonical.as_os_str().as_encoded_bytes());
        listing(path, &mut hasher)?;
        return Ok((
            Form::Directory,
            format!("directory:{}", short(&hasher.finalize())),
        ));
    }
    let stamp = format!(
        "{}\0{}\0{}.{:09}",
        canonical.display(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec()
    );
    let form = packed::form(path)?;
    let kind = if form == Form::Archive {
        "archive"
    } else {
        "tarball"
    };
    let record = seen.join(blake3::hash(stamp.as_bytes()).to_hex().as_str());
    if let Ok(digest) = std::fs::read_to_string(&record)
        && digest.strip_prefix(kind).is_some_and(|rest| rest.len() == 33)
    {
        return Ok((form, digest));
    }
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
    }
    let digest = format!("{kind}:{}", short(&hasher.finalize()));
    let temporary = record.with_extension(uuid::Uuid::new_v4().simple().to_string());
    std::fs::write(&temporary, &digest)?;
    std::fs::rename(&temporary, &record)?;
    Ok((form, digest))
}

fn short(hash: &blake3::Hash) -> String {
    hash.to_hex()[..32].to_owned()
}

/// Everything in a directory by its name, kind, size and time.
fn listing(directory: &Path, hasher: &mut blake3::Hasher) -> io::Result<()> {
    let mut entries = std::fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let metadata = entry.metadata()?;
        let name = entry.file_name();
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_encoded_bytes());
        hasher.update(&metadata.mode().to_le_bytes());
        for number in [metadata.mtime(), metadata.mtime_nsec()] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&metadata.len().to_le_bytes());
        if metadata.is_dir() {
            listing(&entry.path(), hasher)?;
            hasher.update(b"\0");
        }
    }
    Ok(())
}
