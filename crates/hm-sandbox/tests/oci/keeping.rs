//! What is stored: listed, counted, removed when nobody needs it.

use std::time::{Duration, SystemTime};

use hm_oci::testing::{BuiltImage, ImageBuilder, Layer, Registry};
use hm_vm::ImageReference;

use super::support::{World, entries};

fn image(text: &str) -> BuiltImage {
    let layer = Layer::new().file("etc/greeting", text.repeat(100_000));
    ImageBuilder::busybox().layer(layer).build()
}

/// Says that an image was last used so many days ago.
fn used(world: &World, image: &BuiltImage, days: u64) {
    let name = format!("oci/images/{}.json", &image.digest()["sha256:".len()..]);
    let file = std::fs::File::open(world.data().join(name)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400))
        .unwrap();
}

#[tokio::test]
async fn images_are_listed_and_counted_once() {
    let registry = Registry::start();
    let world = World::new();
    let (one, two) = (image("one"), image("two"));
    for (image, name) in [(&one, "one:1"), (&two, "two:1"), (&two, "two:latest")] {
        let reference = image.push(&registry, name).await;
        world.run().open(&reference).await.unwrap();
    }
    let run = world.run();
    let list = run.images().list().await.unwrap();
    let seen: Vec<_> = list
        .iter()
        .map(|image| (image.digest.clone(), image.references.len(), image.layers))
        .collect();
    assert_eq!(seen, [(one.digest(), 1, 2), (two.digest(), 2, 2)]);
    assert!(
        list.iter()
            .all(|image| image.used.is_some() && image.platform.starts_with("linux/"))
    );
    assert_eq!(list[0].references, [registry.reference("one:1")]);
    let usage = run.images().usage().await.unwrap();
    let apart: u64 = list.iter().map(|image| image.bytes).sum();
    // Both have busybox.
    assert!(usage > 0 && usage < apart, "{usage} of {apart}");
    let du = std::process::Command::new("du")
        .arg("-sB1")
        .arg(world.data().join("oci/l"))
        .output()
        .unwrap();
    let du: u64 = String::from_utf8_lossy(&du.stdout)
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(usage.abs_diff(du) <= 64 << 10, "{usage} and {du}");
}

#[tokio::test]
async fn what_others_have_stays() {
    let registry = Registry::start();
    let world = World::new();
    let (one, two) = (image("one"), image("two"));
    let reference = one.push(&registry, "one:1").await;
    world.run().open(&reference).await.unwrap();
    let other = two.push(&registry, "two:1").await;
    world.run().open(&other).await.unwrap();
    let again = two.push(&registry, "two:2").await;
    world.run().open(&again).await.unwrap();
    assert_eq!(world.layers().len(), 3);
    let run = world.run();
    let images = run.images();
    // Another name for it is left.
    assert_eq!(images.remove(&again).await.unwrap(), 0);
    assert_eq!(world.layers().len(), 3);
    let before = images.usage().await.unwrap();
    let freed = images.remove(&other).await.unwrap();
    assert_eq!(before - freed, images.usage().await.unwrap());
    assert_eq!(world.layers().len(), 2);
    assert!(images.remove(&one.digest()).await.unwrap() > 0);
    assert!(world.layers().is_empty());
    assert_eq!(images.usage().await.unwrap(), 0);
    assert!(entries(&world.data().join("oci/trash")).is_empty());
    let error = images.remove(&reference).await.unwrap_err().to_string();
    assert!(error.contains("hm image ls"), "{error}");
    // Removed is not forgotten by the registry.
    world.run().open(&reference).await.unwrap();
}

#[tokio::test]
async fn an_image_in_use_stays() {
    let registry = Registry::start();
    let world = World::new();
    let reference = image("one").push(&registry, "one:1").await;
    let user = world.run();
    let vm = user.machine(&reference).await.unwrap();
    let other = world.run();
    let error = other.images().remove(&reference).await.unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    assert_eq!(other.images().collect(0).await.unwrap(), 0);
    assert_eq!(world.layers().len(), 2);
    vm.destroy().await.unwrap();
    drop(user);
    assert!(other.images().collect(0).await.unwrap() > 0);
    assert!(world.layers().is_empty());
}

#[tokio::test]
async fn room_is_made_by_what_was_used_longest_ago() {
    let registry = Registry::start();
    let world = World::new();
    let all = ["one", "two", "three"].map(image);
    for (number, one) in all.iter().enumerate() {
        let reference = one.push(&registry, &format!("image:{number}")).await;
        world.run().open(&reference).await.unwrap();
    }
    for (one, days) in all.iter().zip([3, 30, 10]) {
        used(&world, one, days);
    }
    let run = world.run();
    let images = run.images();
    let usage = images.usage().await.unwrap();
    assert_eq!(images.collect(usage).await.unwrap(), 0);
    assert!(images.collect(usage - 1).await.unwrap() > 0);
    let left: Vec<_> = images
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|image| image.digest)
        .collect();
    assert!(left.contains(&all[0].digest()) && left.contains(&all[2].digest()) && left.len() == 2);
    used(&world, &all[2], 100);
    assert!(images.collect(u64::MAX).await.unwrap() > 0);
    assert_eq!(images.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_killed_runs_left_is_removed() {
    let world = World::new();
    let path = world.path("image.tar");
    std::fs::write(&path, image("one").docker_archive("image:1")).unwrap();
    world.run().open(path.to_str().unwrap()).await.unwrap();
    let store = world.data().join("oci");
    for left in ["l/abc.partial/etc", "l/abcdefghij/etc", "trash/x/etc", "blobs"] {
        std::fs::create_dir_all(store.join(left)).unwrap();
    }
    std::fs::write(store.join("blobs/old.partial"), "x").unwrap();
    let file = std::fs::File::open(store.join("blobs/old.partial")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(30 * 86_400))
        .unwrap();
    std::fs::write(store.join("blobs/new.partial"), "x").unwrap();
    world.run().images().collect(u64::MAX).await.unwrap();
    assert_eq!(world.layers().len(), 2, "{:?}", world.layers());
    assert!(entries(&store.join("trash")).is_empty());
    assert_eq!(entries(&store.join("blobs")), [store.join("blobs/new.partial")]);
    world.run().open(path.to_str().unwrap()).await.unwrap();
}

#[tokio::test]
async fn an_imported_image_is_used_without_a_registry() {
    let world = World::new();
    let one = image("one");
    let path = world.path("image.tar");
    std::fs::write(&path, one.docker_archive("image:1")).unwrap();
    let name = ImageReference::new("team/image:1");
    let run = world.run();
    let imported = run.images().import(&path, &name).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(world.run().open("team/image:1").await.unwrap(), imported);
    assert_eq!(
        world.run().open("docker.io/team/image:1").await.unwrap().digest,
        imported.digest
    );
    let list = run.images().list().await.unwrap();
    assert_eq!(list[0].references, ["docker.io/team/image:1"]);
    let error = run
        .images()
        .import(&world.path("nothing"), &name)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("nothing"), "{error}");
}
