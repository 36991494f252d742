//! Containers become images.

use std::sync::Arc;

use bollard::models::ContainerConfig;
use bollard::query_parameters::{CommitContainerOptions, CreateImageOptions, TagImageOptions};
use futures::StreamExt;
use uuid::Uuid;

use super::base::{Base, DEEPEST};
use super::engine::failed;
use super::labels::{REPOSITORY, image_name};
use super::shared::Shared;
use hm_vm::{Result, VmError};

/// What an image is to be called.
#[derive(Debug)]
pub(super) struct Named {
    pub role: &'static str,
    pub id: String,
}

impl Named {
    pub(super) fn new(role: &'static str) -> Self {
        Self {
            role,
            id: Uuid::now_v7().simple().to_string(),
        }
    }

    fn repository(&self) -> String {
        format!("{REPOSITORY}-{}", self.role)
    }

    pub(super) fn image(&self) -> String {
        image_name(self.role, &self.id)
    }
}

/// A name of an image, which is taken off it with this unless it is kept.
#[derive(Debug)]
pub(super) struct FreshImage {
    shared: Arc<Shared>,
    image: Option<String>,
}

impl FreshImage {
    fn of(shared: &Arc<Shared>, name: &Named) -> Self {
        Self {
            shared: shared.clone(),
            image: Some(name.image()),
        }
    }

    /// Keeps it: somebody has noted it down.
    pub(super) fn keep(mut self) {
        self.image = None;
    }
}

impl Drop for FreshImage {
    fn drop(&mut self) {
        if let Some(image) = self.image.take() {
            self.shared.discard_image(image);
        }
    }
}

/// Makes an image of what a container holds, and returns how many layers it has. The container does not run.
pub(super) async fn commit(
    shared: &Arc<Shared>,
    container: &str,
    below: &Base,
    name: Named,
) -> Result<(usize, FreshImage)> {
    let made = FreshImage::of(shared, &name);
    if below.layers >= DEEPEST {
        flatten(shared, container, below, &name).await?;
        return Ok((1, made));
    }
    let (own, container) = (shared.clone(), container.to_owned());
    let committed = async move {
        by_engine(&own, container, &name).await?;
        Ok(made)
    };
    let made = shared.to_its_end(committed).await?;
    Ok((below.layers + 1, made))
}

async fn by_engine(shared: &Shared, container: String, name: &Named) -> Result<()> {
    let docker = shared.docker().await?;
    let options = CommitContainerOptions {
        container: Some(container),
        repo: Some(name.repository()),
        tag: Some(name.id.clone()),
        pause: false,
        ..CommitContainerOptions::default()
    };
    let config = ContainerConfig {
        labels: Some(shared.labels(name.role, &name.id).await?),
        // In place of the program that ran the machine's commands.
        entrypoint: Some(Vec::new()),
        cmd: Some(vec!["sh".into()]),
        ..ContainerConfig::default()
    };
    docker
        .commit_container(options, config)
        .await
        .map_err(failed("cannot keep what the step wrote"))?;
    Ok(())
}

/// Makes an image of one layer: the engine refuses chains that are too long.
async fn flatten(shared: &Shared, container: &str, below: &Base, name: &Named) -> Result<()> {
    let docker = shared.docker().await?;
    let labels = shared.labels(name.role, &name.id).await?;
    let quoted = |value: &str| {
        format!(
            "\"{}\"",
            value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('$', "\\$")
        )
    };
    let mut changes = vec!["CMD [\"sh\"]".to_owned()];
    changes.extend(
        below
            .env
            .iter()
            .map(|(key, value)| format!("ENV {key}={}", quoted(value))),
    );
    changes.extend(
        labels
            .iter()
            .map(|(key, value)| format!("LABEL {key}={}", quoted(value))),
    );
    let options = CreateImageOptions {
        from_src: Some("-".into()),
        repo: Some(name.image()),
        tag: Some(name.id.clone()),
        changes,
        ..CreateImageOptions::default()
    };
    let exported = docker.export_container(container);
    let exported = exported.map(|piece| piece.map_err(|error| std::io::Error::other(error.to_string())));
    let body = bollard::body_try_stream(exported);
    let mut imported = Box::pin(docker.create_image(Some(options), Some(body), None));
    while let Some(said) = imported.next().await {
        said.map_err(failed("cannot flatten a long chain of snapshots"))?;
    }
    Ok(())
}

/// Gives a base's image one more name.
pub(super) async fn name(shared: &Arc<Shared>, base: &Base, name: Named) -> Result<(Base, FreshImage)> {
    let named = Base {
        image: name.image(),
        ..base.clone()
    };
    let (own, image) = (shared.clone(), base.image.clone());
    let tagged = async move {
        let made = FreshImage::of(&own, &name);
        let options = TagImageOptions {
            repo: Some(name.repository()),
            tag: Some(name.id),
        };
        own.docker()
            .await?
            .tag_image(&image, Some(options))
            .await
            .map_err(failed("cannot name an image"))?;
        Ok(made)
    };
    let made = shared.to_its_end(tagged).await?;
    Ok((named, made))
}

/// An error of a snapshot that could not be taken.
pub(super) fn not_sealed(error: VmError) -> VmError {
    VmError::NotSealed {
        source: Box::new(error),
    }
}
