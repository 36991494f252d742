//! A store in a temporary directory, and layers unpacked into one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hm_oci::testing::Layer;
use hm_oci::unpack::{Form, Unpack, UnpackError, Unpacked, unpack};
use hm_oci::{ImageProgress, ImageSettings, Progress, UnpackLimits};
use hm_sandbox::{SandboxBackend, SandboxConfig};
use hm_vm::{ImageReference, Images, ResolvedImage, Result, Vm, VmBackend};
use tempfile::TempDir;

/// What a store said.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Vec<(String, ImageProgress)>>);

impl Progress for Heard {
    fn progress(&self, image: &str, progress: &ImageProgress) {
        self.0.lock().unwrap().push((image.to_owned(), progress.clone()));
    }
}

impl Heard {
    pub fn take(&self) -> Vec<ImageProgress> {
        let heard = std::mem::take(&mut *self.0.lock().unwrap());
        heard.into_iter().map(|(_, progress)| progress).collect()
    }

    pub fn notices(&self) -> Vec<String> {
        let notice = |progress| match progress {
            ImageProgress::Notice(text) => Some(text),
            _ => None,
        };
        self.take().into_iter().filter_map(notice).collect()
    }
}

/// A data directory, and what is told of it.
pub struct World {
    pub directory: TempDir,
    pub heard: Arc<Heard>,
    pub settings: ImageSettings,
}

impl World {
    pub fn new() -> Self {
        let heard = Arc::new(Heard::default());
        let mut settings = ImageSettings {
            retries: 3,
            ..ImageSettings::default()
        };
        settings.progress = Some(heard.clone());
        let directory = tempfile::Builder::new().prefix("hm-oci-").tempdir().unwrap();
        Self {
            directory,
            heard,
            settings,
        }
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Another run: it knows nothing but what is stored.
    pub fn run(&self) -> Run {
        let mut config = SandboxConfig::new(self.data(), "/usr/bin:/bin");
        config.images = self.settings.clone();
        Run(SandboxBackend::new(config).unwrap())
    }

    /// The layers that are stored.
    pub fn layers(&self) -> Vec<PathBuf> {
        entries(&self.data().join("oci/l"))
    }
}

pub fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// One process's use of the store, as far as one process can tell.
pub struct Run(pub SandboxBackend);

impl Run {
    pub async fn resolve(&self, image: &str) -> Result<ResolvedImage> {
        self.0.resolve(&ImageReference::new(image)).await
    }

    /// Makes an image ready, as for a step.
    pub async fn open(&self, image: &str) -> Result<ResolvedImage> {
        let resolved = self.resolve(image).await?;
        self.0.create(&resolved).await?.destroy().await?;
        Ok(resolved)
    }

    pub async fn machine(&self, image: &str) -> Result<Box<dyn Vm>> {
        let resolved = self.resolve(image).await?;
        self.0.create(&resolved).await
    }

    pub async fn refuses(&self, image: &str) -> String {
        match self.open(image).await {
            Ok(image) => panic!("{image:?} is no image"),
            Err(error) => error.to_string(),
        }
    }

    pub fn images(&self) -> &dyn Images {
        self.0.images().unwrap()
    }
}

/// A directory to unpack into, with something beside it that nothing may reach.
pub struct Place {
    pub directory: TempDir,
    pub limits: UnpackLimits,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("hm-unpack-").tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        std::fs::write(directory.path().join("outside/secret"), "secret").unwrap();
        Self {
            directory,
            limits: UnpackLimits::default(),
        }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    pub fn order(&self, archive: &[u8]) -> Unpack {
        let path = self.directory.path().join("layer.tar");
        std::fs::write(&path, archive).unwrap();
        Unpack {
            archive: path,
            offset: 0,
            length: None,
            destination: self.root(),
            form: Form::Layer,
            digest: None,
            diff_id: None,
            limits: self.limits,
        }
    }

    pub fn unpack(&self, layer: &Layer) -> std::result::Result<Unpacked, UnpackError> {
        unpack(&self.order(&layer.blob().0))
    }

    /// Unpacks what has to be refused, and looks whether it reached anything.
    pub fn refuses(&self, layer: &Layer) -> String {
        let refused = self.unpack(layer);
        self.is_untouched();
        match refused {
            Ok(_) => panic!("it was unpacked: {:?}", entries(&self.root())),
            Err(error) => error.to_string(),
        }
    }

    pub fn is_untouched(&self) {
        let mut beside = entries(self.directory.path());
        beside.sort();
        let names: Vec<_> = beside
            .iter()
            .filter_map(|path| path.file_name()?.to_str())
            .collect();
        assert_eq!(names, ["layer.tar", "outside", "root"]);
        assert_eq!(entries(&self.outside()).len(), 1);
        assert_eq!(
            std::fs::read_to_string(self.outside().join("secret")).unwrap(),
            "secret"
        );
    }
}
