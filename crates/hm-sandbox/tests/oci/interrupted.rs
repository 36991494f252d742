//! Pulls that are cut, by the registry's end, by the network's, and by our own.

use std::process::{Command, Stdio};
use std::sync::Arc;

use hm_oci::testing::{BuiltImage, ImageBuilder, Layer, Packing, Registry, Throttle, digest};

use super::support::{World, entries};

/// More than is on its way when a connection breaks.
const SIZE: usize = 8 << 20;

fn large() -> BuiltImage {
    let mut noise = Vec::with_capacity(SIZE);
    let mut state = 1_u64;
    while noise.len() < SIZE {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&state.to_le_bytes());
    }
    let layer = Layer::new().file("noise", noise).packed(Packing::Plain);
    ImageBuilder::busybox().layer(layer).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_killed_in_mid_pull_and_started_again() {
    let mut registry = Registry::start();
    let way = Throttle::to(registry.address()).await;
    let image = large();
    image.push(&registry, "large:1").await;
    let reference = format!("{}/large:1", way.address());
    let mut world = World::new();
    world.settings.retries = 8;
    let world = Arc::new(world);
    way.cut_after(SIZE as u64 / 2);
    let pull = tokio::spawn({
        let (world, reference) = (world.clone(), reference.clone());
        async move { world.run().open(&reference).await }
    });
    while !way.is_cut() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    registry.kill();
    way.mend();
    registry.restart();
    let resolved = pull.await.unwrap().unwrap();
    assert_eq!(resolved.digest, image.digest());
    // What had come by then did not come again.
    let all: usize = image.layers.iter().map(Vec::len).sum();
    assert!(
        way.passed() < (all + SIZE / 4) as u64,
        "{} of {all}",
        way.passed()
    );
    assert_eq!(world.layers().len(), 2);
    assert!(entries(&world.data().join("oci/blobs")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_run_goes_on_with_what_is_here() {
    let registry = Registry::start();
    let way = Throttle::to(registry.address()).await;
    let image = large();
    image.push(&registry, "large:1").await;
    let reference = format!("{}/large:1", way.address());
    let mut world = World::new();
    world.settings.retries = 0;
    way.cut_after(SIZE as u64 / 2);
    let error = world.run().refuses(&reference).await;
    assert!(error.contains("large:1"), "{error}");
    way.mend();
    world.run().open(&reference).await.unwrap();
    // What was on its way when the connection broke may come again, and no more.
    let all: usize = image.layers.iter().map(Vec::len).sum();
    assert!(
        way.passed() < (all + SIZE / 4) as u64,
        "{} of {all}",
        way.passed()
    );
    // What is here and wrong is fetched anew, once.
    let again = World::new();
    let blobs = again.data().join("oci/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let name = digest(&image.layers[1]).replace("sha256:", "") + ".partial";
    std::fs::write(blobs.join(name), vec![7; SIZE / 2]).unwrap();
    again.run().open(&reference).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_pull_one_image_once() {
    let registry = Registry::start();
    let way = Throttle::to(registry.address()).await;
    let image = large();
    image.push(&registry, "large:1").await;
    let reference = format!("{}/large:1", way.address());
    let world = Arc::new(World::new());
    let runs = (0..6).map(|_| {
        let (world, reference) = (world.clone(), reference.clone());
        tokio::spawn(async move { world.run().open(&reference).await.map(|_| ()) })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap().unwrap();
    }
    let asked = way.take_requests();
    let layer = digest(&image.layers[1]);
    assert_eq!(
        asked.iter().filter(|line| line.contains(&layer)).count(),
        1,
        "{asked:?}"
    );
    assert_eq!(world.layers().len(), 2);
}

/// Set in a process that pulls until it is killed.
const PULLS: &str = "HM_TEST_PULLS";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_killed_in_mid_pull() {
    if let Some(order) = std::env::var_os(PULLS) {
        let order = order.into_string().unwrap();
        let (data, image) = order.split_once(' ').unwrap();
        let config = hm_sandbox::SandboxConfig::new(data, "/usr/bin:/bin");
        let backend = hm_sandbox::SandboxBackend::new(config).unwrap();
        super::support::Run(backend).open(image).await.unwrap();
        return;
    }
    let image = large();
    let world = World::new();
    let path = world.path("large.tar");
    std::fs::write(&path, image.layout_archive("large:1")).unwrap();
    for number in 0..12 {
        let data = world.path(&format!("data-{}", number / 6));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "interrupted::a_run_is_killed_in_mid_pull"])
            .env(PULLS, format!("{} {}", data.display(), path.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(12 * number));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for number in 0..2 {
        let data = world.path(&format!("data-{number}"));
        let config = hm_sandbox::SandboxConfig::new(&data, "/usr/bin:/bin");
        let run = super::support::Run(hm_sandbox::SandboxBackend::new(config).unwrap());
        run.open(path.to_str().unwrap()).await.unwrap();
        let layers = entries(&data.join("oci/l"));
        assert_eq!(layers.len(), 2, "{layers:?}");
        let noise = layers
            .iter()
            .map(|layer| layer.join("noise"))
            .find(|path| path.exists());
        assert_eq!(std::fs::metadata(noise.unwrap()).unwrap().len(), SIZE as u64);
    }
}
