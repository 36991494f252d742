//! The images that hm had the engine fetch or take. Whatever else the engine has is its user's, and stays.

use std::collections::HashMap;
use std::path::Path;

use async_trait::async_trait;
use bollard::query_parameters::{RemoveImageOptions, TagImageOptions};

use super::backend::DockerBackend;
use super::engine::{failed, found, status};
use super::remembered::{Record, is_remembered, records, remember};
use super::shared::Shared;
use super::usage::Listing;
use super::{image, import, sourced, state};
use hm_oci::PullPolicy;
use hm_vm::{ImageReference, Images, ResolvedImage, Result, StoredImage, VmError};

/// Takes an image away; `None` when something uses it.
async fn take(shared: &Shared, record: &Record) -> Result<Option<u64>> {
    let (docker, state) = (shared.docker().await?, shared.state().await?);
    let inspected =
        found(docker.inspect_image(&record.name).await).map_err(failed("cannot look at an image"))?;
    let id = inspected.and_then(|image| image.id);
    if let Some(id) = &id {
        // What was made of it goes with it; snapshots keep the layers that they need.
        sourced::forget(shared, id).await?;
    }
    let freed = Listing::of(shared.docker().await?).await?.freed(&record.name);
    match docker
        .remove_image(&record.name, None::<RemoveImageOptions>, None)
        .await
    {
        Err(error) if status(&error) == Some(409) => return Ok(None),
        removed => found(removed).map_err(failed(format!("cannot remove the image {}", record.reference)))?,
    };
    state::remove(&state.image(&record.name))?;
    Ok(Some(freed))
}

#[async_trait]
impl Images for DockerBackend {
    async fn list(&self) -> Result<Vec<StoredImage>> {
        let shared = self.shared();
        let (docker, state) = (shared.docker().await?, shared.state().await?);
        let mut stored = Vec::new();
        for record in records(shared).await? {
            let inspected = found(docker.inspect_image(&record.name).await);
            let Some(image) = inspected.map_err(failed("cannot look at an image"))? else {
                // Its user removed it.
                state::remove(&state.image(&record.name))?;
                continue;
            };
            let part = |part: Option<String>| part.unwrap_or_default();
            stored.push(StoredImage {
                references: vec![record.reference],
                digest: record.digest,
                platform: format!("{}/{}", part(image.os), part(image.architecture)),
                bytes: image
                    .size
                    .and_then(|bytes| u64::try_from(bytes).ok())
                    .unwrap_or(0),
                layers: image
                    .root_fs
                    .and_then(|root| root.layers)
                    .map_or(0, |layers| layers.len()),
                used: Some(record.used),
            });
        }
        Ok(stored)
    }

    async fn pull(&self, reference: &ImageReference) -> Result<ResolvedImage> {
        let shared = self.shared();
        if reference.is_host() || reference.is_path() {
            return image::resolve(shared, reference).await;
        }
        shared.forget_asked(reference.as_str());
        let pulled = image::fetch(shared, reference, PullPolicy::Always).await?;
        Ok(ResolvedImage {
            reference: reference.clone(),
            digest: image::digest(reference.as_str(), &pulled),
        })
    }

    async fn import(&self, path: &Path, name: &ImageReference) -> Result<ResolvedImage> {
        let shared = self.shared();
        let docker = shared.docker().await?;
        if name.is_host() || name.is_path() || name.as_str().contains('@') {
            return Err(VmError::Other(format!("`{name}` cannot be an image's name")));
        }
        let there = found(docker.inspect_image(name.as_str()).await)
            .map_err(failed("the engine refuses its name"))?;
        if there.is_some() && !is_remembered(shared, name.as_str()).await? {
            return Err(VmError::Other(format!(
                "the engine has an image {name} that hm did not bring in; choose another name, or remove it with \
                 `docker rmi {name}`"
            )));
        }
        let from = ImageReference::new(path.to_string_lossy());
        let digest = import::resolve(shared, &from).await?;
        let (repository, tag) = image::split(name.as_str());
        let options = TagImageOptions {
            repo: Some(repository.to_owned()),
            tag: Some(tag.unwrap_or("latest").to_owned()),
        };
        docker
            .tag_image(&import::image_of(&digest), Some(options))
            .await
            .map_err(failed(format!("cannot name the image {name}")))?;
        let named = docker.inspect_image(name.as_str()).await;
        let digest = named
            .map_err(failed("cannot look at the image"))?
            .id
            .unwrap_or(digest);
        remember(shared, name.as_str(), name, &digest).await?;
        Ok(ResolvedImage {
            reference: name.clone(),
            digest,
        })
    }

    async fn remove(&self, image: &str) -> Result<u64> {
        let shared = self.shared();
        let records = records(shared).await?;
        let meant: Vec<_> = records
            .iter()
            .filter(|record| {
                [&record.reference, &record.name, &record.digest]
                    .iter()
                    .any(|known| *known == image)
            })
            .collect();
        if meant.is_empty() {
            return Err(VmError::ImageNotFound {
                image: ImageReference::new(image),
                reason: "hm did not bring it into the engine; `docker rmi` removes any other".into(),
            });
        }
        let mut freed = 0;
        for record in meant {
            let taken = take(shared, record).await?;
            freed += taken.ok_or_else(|| {
                VmError::Other(format!(
                    "the image {image} is in use by a container; end that first"
                ))
            })?;
        }
        Ok(freed)
    }

    async fn usage(&self) -> Result<u64> {
        // These are few. To list all images takes the engine longer, the more snapshots there are.
        let docker = self.shared().docker().await?;
        let mut sizes = HashMap::new();
        for record in records(self.shared()).await? {
            let inspected = found(docker.inspect_image(&record.name).await);
            if let Some(image) = inspected.map_err(failed("cannot look at an image"))? {
                sizes.insert(
                    image.id,
                    image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                );
            }
        }
        Ok(sizes.into_values().sum())
    }

    async fn collect(&self, max_bytes: u64) -> Result<u64> {
        let mut freed = 0;
        for record in records(self.shared()).await? {
            if Images::usage(self).await? <= max_bytes {
                break;
            }
            freed += take(self.shared(), &record).await?.unwrap_or(0);
        }
        Ok(freed)
    }
}
