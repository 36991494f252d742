//! The store: finds images and pins them.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::failure::Failure;
use super::manifest::{Configuration, Document, check_platform, choose, layers};
use super::name::Name;
use super::record::{Record, Tag, hex};
use super::remote::{Endpoint, LONGEST_MANIFEST, Remotes};
use super::unpack::Unpack;
use super::{ImageProgress, ImageSettings, Platform, PullPolicy, download, files};
use hm_vm::{ImageReference, ResolvedImage, Result, VmError};

/// Where layers are unpacked and removed: where the owners of their files exist.
pub trait LayerFiles: Send + Sync + Debug {
    /// Removes a tree, and returns the bytes of real blocks that are free now. One that is gone is no error.
    ///
    /// # Errors
    /// When it failed there, or something is left.
    fn remove_tree(&self, path: PathBuf) -> Result<u64>;

    /// Removes what is at the destination, makes it a directory, unpacks into it, and writes what came of it
    /// ([`super::Unpacking`]) as JSON to the report.
    ///
    /// # Errors
    /// When it failed there, or the place cannot be reached.
    fn unpack(&self, order: Unpack, report: PathBuf) -> Result<()>;
}

/// The images on this machine. Cheap to open and to clone; every method may be called from many tasks and many
/// processes at once, and a process may be killed at any moment.
#[derive(Debug, Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    settings: ImageSettings,
    files: Arc<dyn LayerFiles>,
    remotes: Remotes,
    /// What was found with a registry's help in this run.
    found: Mutex<Vec<(String, std::time::Instant, ResolvedImage)>>,
}

/// For how long what a registry said is not asked again.
const FRESH: std::time::Duration = std::time::Duration::from_secs(20);

/// How often a registry that was not reached yet is tried again: nobody waits a quarter of a minute to hear that it is
/// not there. One that goes away in the middle of a pull is waited for.
const FIRST_CONTACT: usize = 3;

impl ImageStore {
    /// The store at `root`, created when first written to.
    pub fn open(root: impl Into<PathBuf>, settings: ImageSettings, files: Arc<dyn LayerFiles>) -> Self {
        Self {
            inner: Arc::new(Inner {
                root: root.into(),
                settings,
                files,
                remotes: Remotes::default(),
                found: Mutex::default(),
            }),
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    pub(super) fn settings(&self) -> &ImageSettings {
        &self.inner.settings
    }

    pub(super) fn files(&self) -> &dyn LayerFiles {
        self.inner.files.as_ref()
    }

    pub(super) fn remotes(&self) -> &Remotes {
        &self.inner.remotes
    }

    pub(super) fn tell(&self, image: &str, progress: &ImageProgress) {
        if let Some(listener) = &self.settings().progress {
            listener.progress(image, progress);
        }
    }

    /// The platform that images are wanted for.
    pub(super) fn platform(&self) -> Platform {
        self.settings()
            .platform
            .clone()
            .unwrap_or_else(Platform::this_machine)
    }

    /// Finds what a reference of a registry stands for, and pins it. Fetches no layer.
    ///
    /// # Errors
    /// [`VmError::ImageNotFound`] says why and what would help.
    pub async fn resolve(&self, image: &ImageReference) -> Result<ResolvedImage> {
        let name = parse(image)?;
        self.resolve_name(image, &name, name.policy(self.settings()))
            .await
    }

    pub(super) async fn resolve_name(
        &self,
        image: &ImageReference,
        name: &Name,
        policy: PullPolicy,
    ) -> Result<ResolvedImage> {
        let not_found = |reason: String| VmError::ImageNotFound {
            image: image.clone(),
            reason,
        };
        let canonical = name.canonical();
        if let Some(found) = self.found_before(&canonical) {
            return Ok(ResolvedImage {
                reference: image.clone(),
                ..found
            });
        }
        let stored = self.stored(&canonical)?;
        let resolved = |digest: String| ResolvedImage {
            reference: image.clone(),
            digest,
        };
        match (&stored, policy) {
            // A digest stands for the same forever.
            (Some(tag), _) if tag.imported || name.digest().is_some() => {
                return Ok(resolved(tag.digest.clone()));
            }
            (Some(tag), PullPolicy::Missing | PullPolicy::Never) => return Ok(resolved(tag.digest.clone())),
            (None, PullPolicy::Never) => {
                return Err(not_found(
                    "it is not stored here, and the pull policy forbids to fetch it; `hm image pull` does"
                        .into(),
                ));
            }
            _ => {}
        }
        self.tell(&name.shown, &ImageProgress::Resolving);
        let found = match self.ask(name, stored.as_ref()).await {
            Ok(digest) => digest,
            Err(Asked::Failed(failure, host)) => match &stored {
                Some(tag) if failure.is_for_now() => {
                    let notice = format!(
                        "{host} cannot be reached ({failure}): {} is used as it was stored",
                        name.shown
                    );
                    self.tell(&name.shown, &ImageProgress::Notice(notice));
                    tag.digest.clone()
                }
                _ => return Err(not_found(reason(&failure, &host))),
            },
            Err(Asked::Unusable(reason)) => return Err(not_found(reason)),
            Err(Asked::Store(error)) => return Err(error),
        };
        let found = resolved(found);
        let mut kept = self.inner.found.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((canonical, std::time::Instant::now(), found.clone()));
        Ok(found)
    }

    fn found_before(&self, canonical: &str) -> Option<ResolvedImage> {
        let mut kept = self.inner.found.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, when, _)| when.elapsed() < FRESH);
        let known = kept.iter().find(|(reference, ..)| reference == canonical)?;
        Some(known.2.clone())
    }

    pub(super) fn forget_found(&self) {
        self.inner
            .found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// What a reference stood for, when that image is still known.
    pub(super) fn stored(&self, canonical: &str) -> Result<Option<Tag>> {
        let Some(tag) = self.tag(canonical, &self.platform())? else {
            return Ok(None);
        };
        Ok(self.record(&tag.digest)?.is_some().then_some(tag))
    }

    /// Whether an image of that digest is known, its layers or not.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn knows(&self, digest: &str) -> Result<bool> {
        Ok(self.record(digest)?.is_some())
    }

    /// Asks the registries, and stores what they say.
    pub(super) async fn ask(&self, name: &Name, stored: Option<&Tag>) -> Result<String, Asked> {
        let endpoints = self.remotes().endpoints(name, self.settings());
        let mut last = None;
        for (number, endpoint) in endpoints.iter().enumerate() {
            match self
                .ask_one(name, endpoint, number + 1 == endpoints.len(), stored)
                .await
            {
                Ok(digest) => return Ok(digest),
                Err(Asked::Failed(failure, host)) => {
                    if failure.is_for_now() {
                        self.remotes().note_away(&host);
                    }
                    // What may be different in a moment says the most about what to do.
                    if !matches!(&last, Some(Asked::Failed(failure, _)) if failure.is_for_now()) {
                        last = Some(Asked::Failed(failure, host));
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Err(last.unwrap_or_else(|| Asked::Unusable("no registry is known for it".into())))
    }

    async fn ask_one(
        &self,
        name: &Name,
        endpoint: &Endpoint,
        is_last: bool,
        stored: Option<&Tag>,
    ) -> Result<String, Asked> {
        let failed = |failure: Failure| Asked::Failed(failure, endpoint.place.host.clone());
        // Whoever has it stored, or another place to ask, need not wait for a registry that is away.
        let retries = if stored.is_some() || !is_last {
            1
        } else {
            self.settings().retries.min(FIRST_CONTACT)
        };
        if let Some(tag) = stored {
            let top = endpoint.head(retries).await.map_err(failed)?;
            if top == tag.top {
                return Ok(tag.digest.clone());
            }
        }
        let (bytes, top) = endpoint.manifest(None, retries).await.map_err(failed)?;
        let (bytes, digest) = match Document::parse(&bytes).map_err(Asked::Unusable)? {
            Document::Image { .. } => (bytes, top.clone()),
            Document::Index(manifests) => {
                let chosen = choose(&manifests, &self.platform()).map_err(Asked::Unusable)?;
                endpoint
                    .manifest(Some(&chosen.digest), retries)
                    .await
                    .map_err(failed)?
            }
        };
        if self.record(&digest).map_err(Asked::Store)?.is_none() {
            self.learn(&digest, &bytes, std::slice::from_ref(endpoint))
                .await?;
        }
        let tag = Tag {
            reference: name.canonical(),
            top,
            digest: digest.clone(),
            platform: self.platform(),
            imported: false,
        };
        self.write_tag(&tag, &self.platform()).map_err(Asked::Store)?;
        Ok(digest)
    }

    /// Fetches what an image says of itself, and stores it.
    pub(super) async fn learn(
        &self,
        digest: &str,
        manifest: &[u8],
        endpoints: &[Endpoint],
    ) -> Result<(), Asked> {
        let Document::Image { config, layers: list } = Document::parse(manifest).map_err(Asked::Unusable)?
        else {
            return Err(Asked::Unusable("its index names another index".into()));
        };
        if config.size > LONGEST_MANIFEST as u64 {
            return Err(Asked::Unusable("its configuration is too long".into()));
        }
        files::private_directory(self.root()).map_err(Asked::Store)?;
        let name = format!("{}.{}", hex(&config.digest), uuid::Uuid::new_v4().simple());
        let file = self.root().join("blobs").join(name);
        let made = hm_fs::create_private(&self.root().join("blobs"));
        made.map_err(VmError::io("cannot create", self.root().join("blobs")))
            .map_err(Asked::Store)?;
        let wanted = (config.digest.as_str(), config.size);
        let fetched = download::fetch(endpoints, wanted, &file, self.settings().retries, |_| {}).await;
        let bytes = fetched.map(|()| std::fs::read(&file));
        let _ = files::remove(&file);
        let host = || {
            endpoints
                .first()
                .map_or_else(String::new, |endpoint| endpoint.place.host.clone())
        };
        let bytes = bytes.map_err(|failure| Asked::Failed(failure, host()))?;
        let bytes = bytes
            .map_err(VmError::io("cannot read", &file))
            .map_err(Asked::Store)?;
        let record = self.describe(digest, &bytes, &list).map_err(Asked::Unusable)?;
        self.write_record(&record).map_err(Asked::Store)
    }

    /// What is to be kept of an image, refused when it is for another machine.
    pub(super) fn describe(
        &self,
        digest: &str,
        config: &[u8],
        list: &[super::manifest::Descriptor],
    ) -> Result<Record, String> {
        let configuration = Configuration::parse(config)?;
        check_platform(&configuration.platform, &self.platform())?;
        Ok(Record {
            digest: digest.to_owned(),
            layers: layers(list, &configuration)?,
            platform: configuration.platform,
            config: configuration.image,
        })
    }
}

/// Why asking gave no image.
#[derive(Debug)]
pub(super) enum Asked {
    /// A registry failed, and which.
    Failed(Failure, String),
    /// What it gave is no image for this machine.
    Unusable(String),
    /// The store failed.
    Store(VmError),
}

impl Asked {
    pub(super) fn into_error(self, image: &ImageReference) -> VmError {
        let not_found = |reason| VmError::ImageNotFound {
            image: image.clone(),
            reason,
        };
        match self {
            Self::Failed(failure, host) => not_found(reason(&failure, &host)),
            Self::Unusable(reason) => not_found(reason),
            Self::Store(error) => error,
        }
    }
}

/// What a registry's failure means, and what would help.
pub(super) fn reason(failure: &Failure, host: &str) -> String {
    match failure {
        Failure::ForNow(_) => format!(
            "{host} cannot be reached: {failure}; try again, name a mirror, or map the image to one that is here"
        ),
        Failure::NotFound => format!("{host} has no such image; look at its name and tag"),
        Failure::Denied(_) => format!("{host} {}; `docker login {host}` helps", trimmed(failure)),
        Failure::Unusable(_) => format!("{host}: {failure}"),
    }
}

fn trimmed(failure: &Failure) -> String {
    let text = failure.to_string();
    text.strip_prefix("it ").unwrap_or(&text).to_owned()
}

pub(super) fn parse(image: &ImageReference) -> Result<Name> {
    Name::parse(image.as_str()).map_err(|reason| VmError::ImageNotFound {
        image: image.clone(),
        reason,
    })
}
