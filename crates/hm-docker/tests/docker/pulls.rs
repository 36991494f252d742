//! Images from a registry, fetched by the engine.

use std::sync::{Arc, Mutex};

use hm_docker::DockerBackend;
use hm_oci::testing::{ImageBuilder, Layer, Registry};
use hm_oci::{CredentialSource, Credentials, ImageProgress, Progress, PullPolicy};
use hm_vm::{ExecRequest, ImageReference, Network as Reach, VmBackend, VmError};

use crate::support::{Engine, World};

/// Knows one login.
#[derive(Debug)]
struct Login(Option<(&'static str, &'static str)>);

impl CredentialSource for Login {
    fn credentials(&self, _: &str) -> Option<Credentials> {
        let (username, password) = self.0?;
        Some(Credentials::Basic {
            username: username.into(),
            password: password.to_owned().into(),
        })
    }
}

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<ImageProgress>>);

impl Progress for Told {
    fn progress(&self, _: &str, progress: &ImageProgress) {
        self.0.lock().unwrap().push(progress.clone());
    }
}

impl Told {
    /// How many layers came, and what was noticed, since this was asked last.
    fn take(&self) -> (usize, Vec<String>) {
        let told = std::mem::take(&mut *self.0.lock().unwrap());
        let layers = told
            .iter()
            .filter(|told| matches!(told, ImageProgress::LayerDone { .. }))
            .count();
        let notices = told.into_iter().filter_map(|told| match told {
            ImageProgress::Notice(notice) => Some(notice),
            _ => None,
        });
        (layers, notices.collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_pulls_what_is_new_and_nothing_else() {
    let engine = Engine::docker();
    let world = World::new(&engine);
    let mut registry = Registry::start_with_login();
    let _way = engine.way_to(registry.address());
    let told = Arc::new(Told::default());
    let login = registry.credentials();
    let backend = |policy: PullPolicy, known: bool| {
        let mut config = engine.config(&world.directory.path().join("pulls"));
        config.pull = policy;
        config.credentials = Some(Arc::new(Login(login.filter(|_| known))));
        config.progress = Some(told.clone());
        DockerBackend::new(config).unwrap()
    };
    let (always, missing, never, stranger) = (
        || backend(PullPolicy::Always, true),
        backend(PullPolicy::Missing, true),
        backend(PullPolicy::Never, true),
        backend(PullPolicy::Always, false),
    );
    let reference = ImageReference::new(registry.reference("tools/box:1"));
    let first = ImageBuilder::busybox().env("VERSION", "1");
    let built = first.build();
    built.push(&registry, "tools/box:1").await;
    let pushed = built.digest();
    for backend in [&never, &stranger] {
        let error = backend.resolve(&reference).await.unwrap_err();
        assert!(matches!(error, VmError::ImageNotFound { .. }), "{error}");
    }
    let image = always().resolve(&reference).await.unwrap();
    assert_eq!(image.digest, pushed);
    let (layers, notices) = told.take();
    assert_eq!((layers > 0, notices), (true, vec![]));
    // A second run asks, and pulls nothing.
    assert_eq!(always().resolve(&reference).await.unwrap(), image);
    assert_eq!(told.take(), (0, vec![]));
    // The tag moves.
    let second = first.layer(Layer::new().file("second", "2")).env("VERSION", "2");
    let built = second.build();
    built.push(&registry, "tools/box:1").await;
    let moved = built.digest();
    assert_ne!(moved, pushed);
    assert_eq!(missing.resolve(&reference).await.unwrap().digest, pushed);
    let newer = always().resolve(&reference).await.unwrap();
    assert_eq!(newer.digest, moved);
    assert!(told.take().0 > 0);
    let pinned = ImageReference::new(format!("{}@{pushed}", registry.reference("tools/box")));
    assert_eq!(always().resolve(&pinned).await.unwrap().digest, pushed);
    // A machine of the older digest is of the older image.
    for (image, version) in [(&image, "1\n"), (&newer, "2\n")] {
        let backend = always();
        let vm = backend.create(image).await.unwrap();
        let mut request = ExecRequest::shell("echo $VERSION");
        request.network = Reach::None;
        let ran = world.run(vm.as_ref(), &request).await;
        assert_eq!(ran.out(), version, "{ran:?}");
        vm.destroy().await.unwrap();
        backend.shutdown().await;
    }
    told.take();
    let unknown = ImageReference::new(registry.reference("no/such:1"));
    let error = always().resolve(&unknown).await.unwrap_err();
    assert!(matches!(error, VmError::ImageNotFound { .. }), "{error}");
    // The registry goes away: what is there is used, and that is told.
    registry.kill();
    told.take();
    assert_eq!(always().resolve(&reference).await.unwrap().digest, moved);
    let (layers, notices) = told.take();
    assert_eq!((layers, notices.len()), (0, 1), "{notices:?}");
    let images = never.images().unwrap();
    assert!(
        images
            .list()
            .await
            .unwrap()
            .iter()
            .any(|image| image.references == [reference.to_string()])
    );
    images.remove(reference.as_str()).await.unwrap();
    assert!(never.resolve(&reference).await.is_err());
}
