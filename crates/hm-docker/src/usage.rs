//! What the engine's disk is used for.

use std::collections::{HashMap, HashSet};

use bollard::Docker;
use bollard::models::ImageSummary;
use bollard::query_parameters::ListImagesOptions;

use super::engine::failed;
use super::labels::{PASSING, ROLE, SNAPSHOT, SOURCED, STORE};
use hm_vm::Result;

/// All images of the engine at one moment.
#[derive(Debug)]
pub(super) struct Listing {
    by_id: HashMap<String, ImageSummary>,
    by_name: HashMap<String, String>,
}

impl Listing {
    pub(super) async fn of(docker: &Docker) -> Result<Self> {
        let options = ListImagesOptions {
            all: true,
            ..ListImagesOptions::default()
        };
        let images = docker
            .list_images(Some(options))
            .await
            .map_err(failed("cannot list the engine's images"))?;
        let names = images.iter().flat_map(|image| {
            let named = image.repo_tags.iter();
            named.map(|name| (name.clone(), image.id.clone()))
        });
        Ok(Self {
            by_name: names.collect(),
            by_id: images
                .into_iter()
                .map(|image| (image.id.clone(), image))
                .collect(),
        })
    }

    pub(super) fn named(&self, name: &str) -> Option<&ImageSummary> {
        self.by_id.get(self.by_name.get(name)?)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ImageSummary> {
        self.by_id.values()
    }

    /// The bytes that an image has above the one that it was made from.
    fn own(&self, image: &ImageSummary) -> u64 {
        let below = self.by_id.get(&image.parent_id).map_or(0, |below| below.size);
        u64::try_from(image.size - below).unwrap_or(0)
    }

    /// What removing an image by one of its names would free: nothing when it has other names, or others build on it.
    pub(super) fn freed(&self, name: &str) -> u64 {
        let Some(image) = self.named(name) else { return 0 };
        let built_on = self.by_id.values().any(|other| other.parent_id == image.id);
        if built_on || image.repo_tags.len() > 1 {
            0
        } else {
            self.own(image)
        }
    }

    /// What snapshots of a data directory take up, and what was made for them.
    pub(super) fn of_snapshots(&self, store: &str) -> u64 {
        let ours = |image: &&ImageSummary| {
            let label = |key: &str| image.labels.get(key).map(String::as_str);
            label(STORE) == Some(store)
                && label(ROLE).is_some_and(|role| [SNAPSHOT, SOURCED, PASSING].contains(&role))
        };
        self.by_id
            .values()
            .filter(ours)
            .map(|image| self.own(image))
            .sum()
    }
}

/// The names of images that none of `known` is, of one role.
pub(super) fn unknown<'a>(
    listing: &'a Listing,
    store: &str,
    role: &str,
    known: &HashSet<String>,
) -> Vec<(&'a str, &'a ImageSummary)> {
    let prefix = super::labels::image_name(role, "");
    listing
        .all()
        .filter(|image| image.labels.get(STORE).map(String::as_str) == Some(store))
        .flat_map(|image| image.repo_tags.iter().map(move |name| (name.as_str(), image)))
        .filter(|(name, _)| name.starts_with(&prefix) && !known.contains(*name))
        .collect()
}
