//! Registries: asked as rarely as can be, and believed in nothing.

use std::sync::Arc;

use hm_oci::testing::{ImageBuilder, Layer, PASSWORD, Registry, Throttle, USER, digest, push_index};
use hm_oci::{CredentialSource, Credentials, ImageProgress, Platform, PullPolicy, RegistrySettings};

use super::support::World;

fn greeting(text: &str) -> hm_oci::testing::BuiltImage {
    ImageBuilder::busybox()
        .layer(Layer::new().file("etc/greeting", text))
        .build()
}

/// What was asked, without who we are.
fn asked(way: &Throttle) -> Vec<String> {
    let requests = way.take_requests().into_iter();
    let lines = requests.map(|line| line.trim_end_matches(" HTTP/1.1").to_owned());
    lines.filter(|line| line != "GET /v2/").collect()
}

#[tokio::test]
async fn a_second_run_pulls_nothing_and_notices_a_moved_tag() {
    let registry = Registry::start();
    let way = Throttle::to(registry.address()).await;
    let reference = format!("{}/greeter:1", way.address());
    let (first, second) = (greeting("one"), greeting("two"));
    first.push(&registry, "greeter:1").await;
    let world = World::new();
    assert_eq!(world.run().open(&reference).await.unwrap().digest, first.digest());
    let all = asked(&way);
    let blobs = all.iter().filter(|line| line.contains("/blobs/")).count();
    assert_eq!(blobs, 3, "{all:?}");
    assert_eq!(world.run().open(&reference).await.unwrap().digest, first.digest());
    assert_eq!(asked(&way), ["HEAD /v2/greeter/manifests/1"]);
    // Within a run a tag means one image.
    let run = world.run();
    run.resolve(&reference).await.unwrap();
    second.push(&registry, "greeter:1").await;
    assert_eq!(run.resolve(&reference).await.unwrap().digest, first.digest());
    asked(&way);
    assert_eq!(
        world.run().open(&reference).await.unwrap().digest,
        second.digest()
    );
    // The layer that both have is here already.
    let all = asked(&way);
    assert_eq!(
        all.iter().filter(|line| line.contains("/blobs/")).count(),
        2,
        "{all:?}"
    );
    assert_eq!(world.layers().len(), 3);
    // What a digest stands for needs no registry.
    let pinned = format!("{}/greeter@{}", way.address(), first.digest());
    world.run().open(&pinned).await.unwrap();
    asked(&way);
    world.run().open(&pinned).await.unwrap();
    assert!(asked(&way).is_empty());
}

#[tokio::test]
async fn a_registry_that_is_away_is_done_without() {
    let mut registry = Registry::start();
    let reference = greeting("one").push(&registry, "greeter:1").await;
    let world = World::new();
    world.run().open(&reference).await.unwrap();
    registry.kill();
    world.heard.take();
    world.run().open(&reference).await.unwrap();
    let notices = world.heard.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(
        notices[0].contains("cannot be reached") && notices[0].contains(&reference),
        "{notices:?}"
    );
    let error = world.run().refuses(&registry.reference("other:1")).await;
    assert!(
        error.contains("cannot be reached") && error.contains("other:1"),
        "{error}"
    );
}

#[tokio::test]
async fn policies_say_when_a_registry_is_asked() {
    let registry = Registry::start();
    let way = Throttle::to(registry.address()).await;
    let reference = format!("{}/greeter:1", way.address());
    greeting("one").push(&registry, "greeter:1").await;
    let mut world = World::new();
    world.settings.pull = PullPolicy::Never;
    let error = world.run().refuses(&reference).await;
    assert!(error.contains("hm image pull"), "{error}");
    assert!(asked(&way).is_empty());
    // Asked for by hand it comes all the same.
    let image = hm_vm::ImageReference::new(&reference);
    world.run().images().pull(&image).await.unwrap();
    world.run().open(&reference).await.unwrap();
    world.settings.pull = PullPolicy::Always;
    let own = RegistrySettings {
        pull: Some(PullPolicy::Missing),
        ..RegistrySettings::default()
    };
    world.settings.registries.insert(way.address().to_string(), own);
    asked(&way);
    world.run().open(&reference).await.unwrap();
    assert!(asked(&way).is_empty());
}

struct Login(&'static str);

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

impl CredentialSource for Login {
    fn credentials(&self, registry: &str) -> Option<Credentials> {
        let password = self.0.to_owned().into();
        registry.starts_with("127.0.0.1:").then(|| Credentials::Basic {
            username: USER.into(),
            password,
        })
    }
}

#[tokio::test]
async fn a_login_is_asked_for_and_told_to_nobody() {
    let registry = Registry::start_with_login();
    let reference = greeting("one").push(&registry, "greeter:1").await;
    let mut world = World::new();
    let error = world.run().refuses(&reference).await;
    assert!(
        error.contains("docker login") && error.contains(&reference),
        "{error}"
    );
    world.settings.credentials = Some(Arc::new(Login("wrong-password")));
    let error = world.run().refuses(&reference).await;
    assert!(
        error.contains("docker login") && !error.contains("wrong-password"),
        "{error}"
    );
    world.settings.credentials = Some(Arc::new(Login(PASSWORD)));
    let run = world.run();
    run.open(&reference).await.unwrap();
    assert!(!format!("{run:?}", run = run.0).contains(PASSWORD));
    let credentials = Login(PASSWORD).credentials(&reference);
    assert!(!format!("{credentials:?}").contains(PASSWORD));
    let found = std::process::Command::new("grep")
        .args(["-r", PASSWORD])
        .arg(world.data())
        .output()
        .unwrap();
    assert!(found.stdout.is_empty());
}

#[tokio::test]
async fn mirrors_are_asked_first_and_in_order() {
    let (near, far) = (Registry::start(), Registry::start());
    let (mirrored, own) = (greeting("mirrored"), greeting("own"));
    mirrored.push(&near, "hub/team/greeter:1").await;
    own.push(&far, "team/greeter:1").await;
    own.push(&far, "team/other:1").await;
    let mut world = World::new();
    let mirrors = [
        "http://127.0.0.1:1".to_owned(),
        format!("http://{}/hub", near.address()),
    ];
    let registry = RegistrySettings {
        mirrors: mirrors.into(),
        ..RegistrySettings::default()
    };
    world
        .settings
        .registries
        .insert(far.address().to_string(), registry);
    let image = world.run().open(&far.reference("team/greeter:1")).await.unwrap();
    assert_eq!(image.digest, mirrored.digest());
    // What no mirror has, the registry has.
    let image = world.run().open(&far.reference("team/other:1")).await.unwrap();
    assert_eq!(image.digest, own.digest());
}

#[tokio::test]
async fn another_machines_image_is_refused_unless_asked_for() {
    let registry = Registry::start();
    let other = ImageBuilder::busybox().platform("linux", "s390x").build();
    let odd = ImageBuilder::busybox().platform("windows", "amd64").build();
    let ours = greeting("ours");
    let alone = other.push(&registry, "alone:1").await;
    let without = push_index(&registry, "without:1", &[&other, &odd]).await;
    let with = push_index(&registry, "with:1", &[&odd, &other, &ours]).await;
    let mut world = World::new();
    let machine = Platform::this_machine().to_string();
    let error = world.run().refuses(&alone).await;
    assert!(
        error.contains("made for linux/s390x") && error.contains(&machine),
        "{error}"
    );
    let error = world.run().refuses(&without).await;
    assert!(
        error.contains(&machine) && error.contains("linux/s390x, windows/amd64"),
        "{error}"
    );
    assert_eq!(world.run().open(&with).await.unwrap().digest, ours.digest());
    world.settings.platform = Some("linux/s390x".parse().unwrap());
    for reference in [&alone, &without, &with] {
        assert_eq!(world.run().open(reference).await.unwrap().digest, other.digest());
    }
    world.settings.platform = None;
    assert_eq!(world.run().open(&with).await.unwrap().digest, ours.digest());
}

#[tokio::test]
async fn what_is_corrupted_is_refused_by_its_digest() {
    let registry = Registry::start();
    let image = greeting("one");
    let reference = image.push(&registry, "greeter:1").await;
    let layer = digest(&image.layers[1]);
    let mut bytes = image.layers[1].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(registry.blob(&layer), &bytes).unwrap();
    let world = World::new();
    let error = world.run().refuses(&reference).await;
    assert!(
        error.contains("corrupted") && error.contains(&layer) && error.contains(&reference),
        "{error}"
    );
    assert!(world.layers().len() <= 1, "{:?}", world.layers());
    // Whoever mends it finds nothing of the wrong one.
    std::fs::write(registry.blob(&layer), &image.layers[1]).unwrap();
    world.run().open(&reference).await.unwrap();

    let image = greeting("two");
    let reference = image.push(&registry, "greeter:2").await;
    let other = ImageBuilder::empty().build();
    std::fs::write(registry.blob(&image.digest()), &other.manifest).unwrap();
    let error = world.run().refuses(&reference).await;
    assert!(error.contains("igest"), "{error}");
}

#[tokio::test]
async fn progress_is_told_to_the_last_byte() {
    let registry = Registry::start();
    let image = greeting("one");
    let reference = image.push(&registry, "greeter:1").await;
    let world = World::new();
    world.run().open(&reference).await.unwrap();
    let heard = world.heard.take();
    assert_eq!(heard[0], ImageProgress::Resolving);
    assert_eq!(heard.last(), Some(&ImageProgress::Done));
    let bytes = image.layers.iter().map(|layer| layer.len() as u64).sum();
    let resolved = ImageProgress::Resolved {
        digest: image.digest(),
        layers: 2,
        missing: 2,
        bytes,
    };
    assert!(heard.contains(&resolved), "{heard:?}");
    for (number, layer) in image.layers.iter().enumerate() {
        let (total, digest) = (layer.len() as u64, digest(layer));
        let downloaded = ImageProgress::Downloading {
            layer: number,
            digest: digest.clone(),
            done: total,
            total,
        };
        let done = ImageProgress::LayerDone {
            layer: number,
            digest,
        };
        let place = |one: &ImageProgress| heard.iter().position(|other| other == one).unwrap();
        assert!(place(&downloaded) < place(&done));
    }
}

#[tokio::test]
async fn names_that_are_none_say_so() {
    let world = World::new();
    for name in ["Ubuntu", "a b", "ubuntu:", "registry.example.org/"] {
        let error = world.run().refuses(name).await;
        assert!(
            error.contains("is no image reference") && error.contains(name),
            "{error}"
        );
    }
    let registry = Registry::start();
    let error = world.run().refuses(&registry.reference("nothing:1")).await;
    assert!(error.contains("has no such image"), "{error}");
}
