//! What a reference means to the sandbox: the host's root, a root filesystem directory, a tarball of one, or an image
//! of the store.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::frame::FramePlan;
use super::protocol::{Bind, Identity};
use super::{host, tarball};
use crate::surface::SandboxConfig;
use hm_oci::{ImageStore, OpenImage};
use hm_vm::{ImageReference, ResolvedImage, Result, VmError, WORKSPACE};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image ready to be mounted.
#[derive(Debug)]
pub(super) struct Image {
    /// Mount points and their lower directories, topmost first, in the order of mounting.
    pub overlays: Vec<(PathBuf, Vec<PathBuf>)>,
    pub binds: Vec<Bind>,
    /// What every command gets: `PATH`, `HOME`.
    pub env: BTreeMap<String, String>,
    /// Keeps the store from removing it.
    _stored: Option<OpenImage>,
}

/// Whether an image is the store's, by its digest.
pub(super) fn is_stored(image: &ResolvedImage) -> bool {
    image.digest.starts_with("sha256:")
}

/// What changed in an image since it had the digest that `was` recognises, as far as it is remembered.
pub(super) fn changes(
    config: &SandboxConfig,
    image: &ResolvedImage,
    was: &dyn Fn(&str) -> bool,
) -> Option<String> {
    host::changes(config, &image.digest, Path::new(image.reference.as_str()), was)
}

/// Finds an image and pins it.
pub(super) async fn resolve(
    config: &SandboxConfig,
    store: &ImageStore,
    reference: &ImageReference,
) -> Result<ResolvedImage> {
    let digest = if reference.is_host() {
        host::digest(config)
    } else if reference.is_path() {
        let path = Path::new(reference.as_str());
        let metadata = std::fs::metadata(path).map_err(|error| VmError::ImageNotFound {
            image: reference.clone(),
            reason: format!(
                "{error}; it has to be a root filesystem directory, a tarball of one, an OCI layout or a `docker save` \
                 archive"
            ),
        })?;
        if metadata.is_dir() {
            match store.resolve_path(reference).await? {
                Some(stored) => stored.digest,
                None => {
                    refuse_above_data(config, reference, path)?;
                    host::directory_digest(config, path)
                }
            }
        } else {
            file_digest(config, store, reference, &metadata).await?
        }
    } else {
        return store.resolve(reference).await;
    };
    Ok(ResolvedImage {
        reference: reference.clone(),
        digest,
    })
}

/// Identifies an image's file. One that was looked at before is not read again.
async fn file_digest(
    config: &SandboxConfig,
    store: &ImageStore,
    reference: &ImageReference,
    metadata: &std::fs::Metadata,
) -> Result<String> {
    let path = Path::new(reference.as_str());
    let seen = tarball::seen_path(config, path, metadata)?;
    if let Some(digest) = tarball::seen(&seen)
        && (!digest.starts_with("sha256:") || store.knows(&digest)?)
    {
        return Ok(digest);
    }
    let digest = match store.resolve_path(reference).await? {
        Some(stored) => stored.digest,
        None => tarball::digest(path)?,
    };
    tarball::remember(&seen, &digest)?;
    Ok(digest)
}

/// An overlay cannot write to what lies below its own lower layer.
fn refuse_above_data(config: &SandboxConfig, reference: &ImageReference, path: &Path) -> Result<()> {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if !real(&config.data_dir).starts_with(real(path)) {
        return Ok(());
    }
    Err(VmError::ImageNotFound {
        image: reference.clone(),
        reason: format!(
            "hm's own data lie in it, in {}; name a directory beside them, or `host` for this machine's own root",
            config.data_dir.display()
        ),
    })
}

/// Whether the host's root made a directory, who has no id in a user's step.
fn belongs_to_root(directory: &Path) -> bool {
    std::fs::metadata(directory.join("etc")).is_ok_and(|metadata| metadata.uid() == 0)
}

/// Makes an image ready: builds its frame, unpacks a tarball that is not unpacked yet.
pub(super) fn open(
    config: &SandboxConfig,
    image: &ResolvedImage,
    identity: Identity,
    unpack: &dyn Fn(tarball::Unpack) -> Result<()>,
) -> Result<Image> {
    let frames = config.data_dir.join("sandbox/frames");
    let workspace = Path::new(WORKSPACE);
    if image.reference.is_host() {
        let host = host::inspect(config, identity);
        let frame = host.frame.build(&frames)?;
        let skeleton = host
            .skeleton
            .map(|skeleton| skeleton.build(&frames))
            .transpose()?;
        let root = PathBuf::from("/");
        let framed = |mount: &PathBuf, source: &PathBuf| {
            let skeleton = skeleton.as_ref().and_then(|skeleton| skeleton.part(mount));
            let above = frame.part(mount).into_iter().chain(skeleton);
            above.chain(Some(source.clone())).collect()
        };
        let mut overlays = vec![(root.clone(), frame.part(&root).into_iter().collect())];
        let shown = host.overlays.iter();
        overlays.extend(shown.map(|(mount, source)| (mount.clone(), framed(mount, source))));
        overlays.push((workspace.to_owned(), Vec::new()));
        return Ok(Image {
            overlays,
            binds: host.binds,
            env: host.env,
            _stored: None,
        });
    }
    let path = Path::new(image.reference.as_str());
    let directory = match tarball::unpacked(config, image, path, unpack)? {
        Some(directory) => directory,
        None => std::fs::canonicalize(path).map_err(VmError::io("cannot open the image", path))?,
    };
    let skeleton = if identity != Identity::Root && belongs_to_root(&directory) {
        Some(host::owned::foreign(&frames, &image.digest, &directory)?)
    } else {
        None
    };
    let skeleton = skeleton.and_then(|skeleton| skeleton.part(Path::new("/")));
    let layers: Vec<_> = skeleton.into_iter().chain([directory]).collect();
    framed(&frames, identity, layers, BTreeMap::new(), None)
}

/// Makes an image of the store ready, whose layers are here.
pub(super) fn stacked(config: &SandboxConfig, identity: Identity, image: OpenImage) -> Result<Image> {
    let frames = config.data_dir.join("sandbox/frames");
    let (layers, env) = (image.layers.clone(), image.config.env.clone());
    framed(&frames, identity, layers, env, Some(image))
}

/// Layers with hm's own frame above them.
fn framed(
    frames: &Path,
    identity: Identity,
    layers: Vec<PathBuf>,
    own_env: BTreeMap<String, String>,
    stored: Option<OpenImage>,
) -> Result<Image> {
    let mut plan = FramePlan::new(&[]);
    plan.resolver();
    let apt = host::APT_SETTINGS.trim_start_matches('/');
    if matches!(identity, Identity::Single { .. }) && layers.iter().any(|layer| layer.join(apt).is_dir()) {
        plan.file(Path::new(host::APT_SETTINGS).join("99hm"), host::APT_ALONE.into());
    }
    if !layers.iter().any(|layer| layer.join("etc/gitconfig").exists()) {
        plan.file("/etc/gitconfig", host::GIT_IDENTITY.into());
    }
    let root = PathBuf::from("/");
    let frame = plan.build(frames)?;
    let lower = frame.part(&root).into_iter().chain(layers).collect();
    let env = [
        ("PATH", PATH),
        ("HOME", "/root"),
        ("USER", "root"),
        ("LOGNAME", "root"),
    ];
    let mut env: BTreeMap<_, _> = env
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    env.extend(own_env);
    Ok(Image {
        overlays: vec![(root, lower), (PathBuf::from(WORKSPACE), Vec::new())],
        binds: Vec::new(),
        env,
        _stored: stored,
    })
}
