//! Images in files, and what is wrong with some.

use hm_oci::testing::{ImageBuilder, Layer, digest};
use hm_vm::ImageReference;

use super::support::World;

#[tokio::test]
async fn a_root_filesystem_is_imported() {
    let world = World::new();
    let root = world.path("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::write(root.join("etc/greeting"), "hello\n").unwrap();
    std::os::unix::fs::symlink("/nowhere", root.join("etc/link")).unwrap();
    let archive = world.path("root.tar.gz");
    let packed = Layer::new().file("etc/greeting", "hello\n").blob().0;
    std::fs::write(&archive, packed).unwrap();
    for (path, name) in [(&root, "of/directory:1"), (&archive, "of/archive:1")] {
        let run = world.run();
        let name = ImageReference::new(name);
        let imported = run.images().import(path, &name).await.unwrap();
        assert_eq!(world.run().open(name.as_str()).await.unwrap(), imported);
    }
    assert_eq!(world.layers().len(), 2);
    for layer in world.layers() {
        assert_eq!(
            std::fs::read_to_string(layer.join("etc/greeting")).unwrap(),
            "hello\n"
        );
    }
}

#[tokio::test]
async fn a_damaged_layout_is_refused() {
    let image = ImageBuilder::busybox().layer(Layer::new().file("a", "x")).build();
    let manifest = image.digest();
    let config = digest(&image.config);
    let layer = digest(&image.layers[1]);
    for (blob, expected) in [(&manifest, "damaged"), (&config, "damaged"), (&layer, "damaged")] {
        let world = World::new();
        let layout = world.path("layout");
        image.write_layout(&layout, "image:1");
        let path = layout.join("blobs").join(blob.replace(':', "/"));
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len() - 2;
        bytes[end] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = world.run().refuses(layout.to_str().unwrap()).await;
        assert!(
            error.contains(expected) && error.contains(blob.as_str()),
            "{error}"
        );
        std::fs::remove_file(&path).unwrap();
        let error = world.run().refuses(layout.to_str().unwrap()).await;
        assert!(error.contains("has no file"), "{error}");
    }
}

#[tokio::test]
async fn an_archive_that_is_cut_off_is_refused() {
    let image = ImageBuilder::busybox().build();
    let world = World::new();
    for (name, whole) in [
        ("layout.tar", image.layout_archive("a:1")),
        ("saved.tar", image.docker_archive("a:1")),
    ] {
        let path = world.path(name);
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = world.run().refuses(path.to_str().unwrap()).await;
        assert!(
            error.contains(name) && error.contains("ends in the middle"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn one_image_has_to_be_meant() {
    let world = World::new();
    let layout = world.path("layout");
    let images = ["one", "two"].map(|text| {
        ImageBuilder::busybox()
            .layer(Layer::new().file("a", text))
            .build()
    });
    let descriptors: Vec<_> = images
        .iter()
        .zip(["one:1", "two:1"])
        .map(|(image, name)| {
            image.write_layout(&layout, name);
            let mut descriptor = image.descriptor();
            descriptor.as_object_mut().unwrap().remove("platform");
            descriptor["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": name });
            descriptor
        })
        .collect();
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": descriptors });
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let error = world.run().refuses(layout.to_str().unwrap()).await;
    assert!(error.contains("several images (one:1, two:1)"), "{error}");
}

#[tokio::test]
async fn an_image_is_what_its_configuration_says() {
    let image = ImageBuilder::busybox()
        .env("A", "b=c")
        .config("Entrypoint", serde_json::json!(["/bin/serve"]))
        .config("Cmd", serde_json::json!(["--port", "80"]))
        .config("User", serde_json::json!("www:www"))
        .config("WorkingDir", serde_json::json!("/srv"))
        .build();
    let world = World::new();
    let layout = world.path("layout");
    image.write_layout(&layout, "image:1");
    let run = world.run();
    let resolved = run.open(layout.to_str().unwrap()).await.unwrap();
    let config = hm_vm::VmBackend::image_config(&run.0, &resolved).await.unwrap();
    assert_eq!(config.env["A"], "b=c");
    assert_eq!(config.command(), ["/bin/serve", "--port", "80"]);
    assert_eq!(
        (config.user.as_deref(), config.working_dir.as_deref()),
        (Some("www:www"), Some("/srv"))
    );
}

#[tokio::test]
async fn manifests_that_lie_are_refused() {
    let world = World::new();
    let image = ImageBuilder::busybox().layer(Layer::new().file("a", "x")).build();
    let text = String::from_utf8(image.manifest.clone()).unwrap();
    let layer = digest(&image.layers[1]);
    let cases = [
        (
            text.replace(&layer, "sha256:../../../../etc/passwd"),
            "no sha256 digest",
        ),
        (text.replace(&layer, "md5:1234"), "no sha256 digest"),
        (
            text.replace("layer.v1.tar+gzip", "layer.v1.exe"),
            "no file system",
        ),
        (
            text.replace("\"schemaVersion\":2", "\"schemaVersion\":1"),
            "version 1",
        ),
        ("{}".into(), "malformed"),
        ("{\"schemaVersion\":2}".into(), "neither an image's nor an index"),
    ];
    for (number, (manifest, expected)) in cases.into_iter().enumerate() {
        let layout = world.path(&format!("layout-{number}"));
        let mut lying = image.clone();
        lying.manifest = manifest.into_bytes();
        lying.write_layout(&layout, "image:1");
        let error = world.run().refuses(layout.to_str().unwrap()).await;
        assert!(error.contains(expected), "{number}: {error}");
    }
}
