//! What a reference means to the engine, pinned.

use bollard::auth::DockerCredentials;
use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptions;
use futures::StreamExt;
use secrecy::ExposeSecret;

use super::engine::{failed, found, status};
use super::shared::{Shared, variables};
use super::{import, remembered};
use hm_oci::{Credentials, ImageProgress, PullPolicy};
use hm_vm::{ImageConfig, ImageReference, ResolvedImage, Result, VmError};

/// Finds an image and pins it: by the digest that its registry knows it by, or by its id.
pub(super) async fn resolve(shared: &Shared, reference: &ImageReference) -> Result<ResolvedImage> {
    if reference.is_host() {
        return Err(VmError::ImageNotFound {
            image: reference.clone(),
            reason: "`host` is this machine's own root filesystem, which a container cannot have; name an image, or \
                     run with the sandbox"
                .into(),
        });
    }
    let digest = if reference.is_path() {
        import::resolve(shared, reference).await?
    } else {
        let image = fetch(shared, reference, shared.config.pull).await?;
        digest(reference.as_str(), &image)
    };
    Ok(ResolvedImage {
        reference: reference.clone(),
        digest,
    })
}

/// What the engine knows a pinned image by.
pub(super) async fn known_as(shared: &Shared, image: &ResolvedImage) -> Result<String> {
    let docker = shared.docker().await?;
    if image.reference.is_path() {
        return Ok(import::image_of(&image.digest));
    }
    let (repository, _) = split(image.reference.as_str());
    let by_digest = format!("{repository}@{}", image.digest);
    for name in [by_digest.as_str(), image.digest.as_str()] {
        let there = found(docker.inspect_image(name).await);
        if let Some(id) = there
            .map_err(failed("cannot look for an image"))?
            .and_then(|image| image.id)
        {
            return Ok(id);
        }
    }
    Err(VmError::ImageNotFound {
        image: image.reference.clone(),
        reason: format!("it was there as {} and has gone since; run again", image.digest),
    })
}

/// What an image says about how it is run.
pub(super) async fn config(shared: &Shared, image: &ResolvedImage) -> Result<ImageConfig> {
    let name = known_as(shared, image).await?;
    let docker = shared.docker().await?;
    let inspected = docker
        .inspect_image(&name)
        .await
        .map_err(failed(format!("cannot look at the image {}", image.reference)))?;
    let config = inspected.config.unwrap_or_default();
    let said = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(ImageConfig {
        env: variables(config.env),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        user: said(config.user),
        working_dir: said(config.working_dir),
    })
}

/// The repository of a reference and what follows it: a tag, or `@` and a digest.
pub(super) fn split(reference: &str) -> (&str, Option<&str>) {
    if let Some((repository, digest)) = reference.split_once('@') {
        return (split(repository).0, Some(digest));
    }
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (reference, None),
    }
}

/// The registry that a reference is of, as Docker reads it.
fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// A repository with all that Docker lets its user leave out.
fn full(repository: &str) -> String {
    let repository = repository.strip_prefix("index.docker.io/").unwrap_or(repository);
    match registry(repository) {
        "docker.io" => {
            let rest = repository.strip_prefix("docker.io/").unwrap_or(repository);
            if rest.contains('/') {
                format!("docker.io/{rest}")
            } else {
                format!("docker.io/library/{rest}")
            }
        }
        _ => repository.to_owned(),
    }
}

/// The digest that the registry of this reference knows an image by.
fn registry_digest(reference: &str, image: &ImageInspect) -> Option<String> {
    let wanted = full(split(reference).0);
    image.repo_digests.iter().flatten().find_map(|known| {
        let (repository, digest) = known.split_once('@')?;
        (full(repository) == wanted).then(|| digest.to_owned())
    })
}

pub(super) fn digest(reference: &str, image: &ImageInspect) -> String {
    registry_digest(reference, image).unwrap_or_else(|| image.id.clone().unwrap_or_default())
}

fn missing(reference: &ImageReference, reason: impl Into<String>) -> VmError {
    VmError::ImageNotFound {
        image: reference.clone(),
        reason: reason.into(),
    }
}

/// The image of a reference: the one that is there, or the registry's.
pub(super) async fn fetch(
    shared: &Shared,
    reference: &ImageReference,
    policy: PullPolicy,
) -> Result<ImageInspect> {
    let docker = shared.docker().await?;
    let name = reference.as_str();
    let there = found(docker.inspect_image(name).await);
    let there = there.map_err(|error| {
        missing(
            reference,
            failed("the engine refuses its name")(error).to_string(),
        )
    })?;
    let Some(image) = there else {
        if policy == PullPolicy::Never {
            return Err(missing(
                reference,
                "the engine does not have it, and the pull policy is `never`; pull it with `hm image pull`",
            ));
        }
        return pull(shared, reference).await;
    };
    let pinned = name.contains('@') || name.starts_with("sha256:");
    // What no registry has given is the user's own.
    let local = registry_digest(name, &image).is_none();
    let asked = !shared
        .asked
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .insert(name.to_owned());
    if policy != PullPolicy::Always || pinned || local || asked {
        return Ok(image);
    }
    shared.tell(name, &ImageProgress::Resolving);
    match docker
        .inspect_registry_image(name, credentials(shared, name))
        .await
    {
        Ok(distribution) if distribution.descriptor.digest == registry_digest(name, &image) => Ok(image),
        Ok(_) => pull(shared, reference).await,
        // Podman does not have this question.
        Err(error)
            if status(&error) == Some(404) && error.to_string().to_lowercase().contains("not found") =>
        {
            match pull(shared, reference).await {
                Ok(pulled) => Ok(pulled),
                Err(error) => Ok(as_it_is(shared, name, &error.to_string(), image)),
            }
        }
        Err(error) => {
            let error = failed("its registry cannot be asked")(error).to_string();
            Ok(as_it_is(shared, name, &error, image))
        }
    }
}

/// The image that is there stands in for one that cannot be asked for.
fn as_it_is(shared: &Shared, name: &str, error: &str, image: ImageInspect) -> ImageInspect {
    let notice = format!("{error}; the image that is stored is used");
    shared.tell(name, &ImageProgress::Notice(notice));
    image
}

/// What the registry of a reference is shown.
fn credentials(shared: &Shared, reference: &str) -> Option<DockerCredentials> {
    let source = shared.config.credentials.as_ref()?;
    Some(match source.credentials(registry(reference))? {
        Credentials::Basic { username, password } => DockerCredentials {
            username: Some(username),
            password: Some(password.expose_secret().to_owned()),
            ..DockerCredentials::default()
        },
        Credentials::Bearer(token) => DockerCredentials {
            registrytoken: Some(token.expose_secret().to_owned()),
            ..DockerCredentials::default()
        },
    })
}

/// Has the engine fetch an image.
pub(super) async fn pull(shared: &Shared, reference: &ImageReference) -> Result<ImageInspect> {
    let docker = shared.docker().await?;
    let name = reference.as_str();
    shared.tell(name, &ImageProgress::Resolving);
    // What was there before is its user's.
    let there = found(docker.inspect_image(name).await).map_err(failed("cannot look for an image"))?;
    let ours = there.is_none() || remembered::is_remembered(shared, name).await?;
    let (repository, tag) = split(name);
    let options = CreateImageOptions {
        from_image: Some(repository.to_owned()),
        tag: Some(tag.unwrap_or("latest").to_owned()),
        platform: shared
            .config
            .platform
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        ..CreateImageOptions::default()
    };
    let mut pulled = Box::pin(docker.create_image(Some(options), None, credentials(shared, name)));
    let mut layers: Vec<String> = Vec::new();
    while let Some(said) = pulled.next().await {
        let said =
            said.map_err(|error| missing(reference, failed("the engine cannot pull it")(error).to_string()))?;
        if let Some(error) = said.error_detail.and_then(|error| error.message) {
            return Err(missing(reference, format!("the engine cannot pull it: {error}")));
        }
        let (Some(layer), Some(what)) = (said.id, said.status) else {
            continue;
        };
        let at = layers
            .iter()
            .position(|known| *known == layer)
            .unwrap_or_else(|| {
                layers.push(layer.clone());
                layers.len() - 1
            });
        let detail = said.progress_detail.unwrap_or_default();
        let bytes = |bytes: Option<i64>| bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0);
        let (layer, digest) = (at, layer);
        let progress = match what.as_str() {
            "Downloading" => ImageProgress::Downloading {
                layer,
                digest,
                done: bytes(detail.current),
                total: bytes(detail.total),
            },
            "Extracting" => ImageProgress::Unpacking { layer, digest },
            "Pull complete" | "Already exists" => ImageProgress::LayerDone { layer, digest },
            _ => continue,
        };
        shared.tell(name, &progress);
    }
    shared.tell(name, &ImageProgress::Done);
    let image = found(docker.inspect_image(name).await).map_err(failed("cannot look at the image"))?;
    let image = image.ok_or_else(|| {
        missing(
            reference,
            "the engine says that it pulled it, and does not have it",
        )
    })?;
    if ours {
        let before = there.as_ref().and_then(|there| registry_digest(name, there));
        let now = digest(name, &image);
        if let Some(before) = before.filter(|before| *before != now) {
            // Its tag has moved away from it.
            let older = ImageReference::new(format!("{repository}@{before}"));
            remembered::remember(shared, older.as_str(), &older, &before).await?;
        }
        remembered::remember(shared, name, reference, &now).await?;
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_docker_reads_it() {
        for (reference, repository, rest, host, complete) in [
            ("ubuntu", "ubuntu", None, "docker.io", "docker.io/library/ubuntu"),
            (
                "ubuntu:24.04",
                "ubuntu",
                Some("24.04"),
                "docker.io",
                "docker.io/library/ubuntu",
            ),
            ("me/app:1", "me/app", Some("1"), "docker.io", "docker.io/me/app"),
            (
                "localhost:5000/a/b",
                "localhost:5000/a/b",
                None,
                "localhost:5000",
                "localhost:5000/a/b",
            ),
            (
                "ghcr.io/a/b:1@sha256:ab",
                "ghcr.io/a/b",
                Some("sha256:ab"),
                "ghcr.io",
                "ghcr.io/a/b",
            ),
        ] {
            assert_eq!(split(reference), (repository, rest), "{reference}");
            assert_eq!(registry(reference), host, "{reference}");
            assert_eq!(full(repository), complete, "{reference}");
        }
    }
}
