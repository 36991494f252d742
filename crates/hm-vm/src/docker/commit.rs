//! Containers become images.

use bollard::models::ContainerConfig;
use bollard::query_parameters::{CommitContainerOptions, CreateImageOptions, TagImageOptions};
use futures::StreamExt;
use uuid::Uuid;

use super::base::{Base, DEEPEST};
use super::engine::failed;
use super::labels::{REPOSITORY, image_name};
use super::shared::Shared;
use crate::{Result, VmError};

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
}

/// Makes an image of what a container holds, and returns how many layers it has. The container does not run.
pub(super) async fn commit(shared: &Shared, container: &str, below: &Base, name: &Named) -> Result<usize> {
    if below.layers >= DEEPEST {
        flatten(shared, container, below, name).await?;
        return Ok(1);
    }
    let docker = shared.docker().await?;
    let options = CommitContainerOptions {
        container: Some(container.to_owned()),
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
    Ok(below.layers + 1)
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
        repo: Some(image_name(name.role, &name.id)),
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
pub(super) async fn name(shared: &Shared, base: &Base, name: Named) -> Result<Base> {
    let docker = shared.docker().await?;
    let options = TagImageOptions {
        repo: Some(name.repository()),
        tag: Some(name.id.clone()),
    };
    docker
        .tag_image(&base.image, Some(options))
        .await
        .map_err(failed("cannot name an image"))?;
    Ok(Base {
        image: image_name(name.role, &name.id),
        ..base.clone()
    })
}

/// An error of a snapshot that could not be taken.
pub(super) fn not_sealed(error: VmError) -> VmError {
    VmError::NotSealed {
        source: Box::new(error),
    }
}
