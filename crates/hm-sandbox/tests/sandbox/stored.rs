//! Images of the store: from a registry, a layout, an archive, with all that layers may say.

use hm_oci::testing::{ImageBuilder, Layer, Packing, Registry};
use hm_vm::{ImageReference, SnapshotCheck, VmBackend};

use super::persons::everyone;
use super::support::{World, said, sh};

everyone![
    an_image_is_pulled_and_run,
    layers_hide_what_is_below,
    a_hundred_layers_are_one_root,
    files_are_what_they_were_packed_as,
    images_come_from_files_too,
    a_snapshot_without_its_image_is_missing,
];

async fn an_image_is_pulled_and_run(world: &World) {
    let registry = Registry::start();
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("etc/greeting", "hello\n").packed(Packing::Zstd))
        .layer(Layer::new().directory("tmp", 0o1777).packed(Packing::Plain))
        .env("GREETING", "from the image")
        .env("PATH", "/bin")
        .build();
    let reference = image.push(&registry, "greeter:1").await;
    let resolved = world
        .backend
        .resolve(&ImageReference::new(&reference))
        .await
        .unwrap();
    assert_eq!(resolved.digest, image.digest());
    let mut vm = world.machine_of(&reference).await;
    for (command, expected) in [
        ("cat /etc/greeting", "hello\n"),
        (
            "echo $GREETING; echo $PATH; pwd; id -u",
            "from the image\n/bin\n/workspace\n0\n",
        ),
        ("cat /etc/resolv.conf", "nameserver 169.254.1.1\n"),
        ("echo more >> /etc/greeting; cat /etc/greeting", "hello\nmore\n"),
        (
            "rm -r /root && mkdir /root && touch /root/x && ls -A /root",
            "x\n",
        ),
    ] {
        let ran = sh(vm.as_mut(), command).await;
        assert_eq!(ran.out(), expected, "{command}: {}", said(&ran));
    }
    let snapshot = vm.snapshot().await.unwrap();
    vm.destroy().await.unwrap();
    drop(registry);
    let mut vm = world.backend.restore(&snapshot.id).await.unwrap();
    let ran = sh(vm.as_mut(), "cat /etc/greeting; ls -A /root").await;
    assert_eq!(ran.out(), "hello\nmore\nx\n", "{}", said(&ran));
    vm.destroy().await.unwrap();
    // What is stored serves without the registry.
    world.machine_of(&reference).await.destroy().await.unwrap();
}

async fn layers_hide_what_is_below(world: &World) {
    let files =
        |layer: Layer, names: &[&str]| names.iter().fold(layer, |layer, name| layer.file(name, *name));
    let below = Layer::new().directory("a", 0o755).directory("a/b", 0o755);
    let below = files(below, &["a/one", "a/two", "a/b/three", "c/four", "d/five", "e"]);
    let above = Layer::new()
        .directory("a", 0o755)
        .whiteout("a/one")
        .opaque("a/b")
        .file("a/b/six", "")
        .whiteout("c")
        .whiteout("d")
        .directory("d", 0o755)
        .file("d/seven", "")
        .file("e", "new\n")
        .whiteout("e")
        .whiteout("nowhere/at/all")
        .whiteout("a/b/three");
    let image = ImageBuilder::busybox().layer(below).layer(above).build();
    let registry = Registry::start();
    let reference = image.push(&registry, "hiding:1").await;
    let mut vm = world.machine_of(&reference).await;
    let seen = "find a c d e nowhere 2>/dev/null | sort | tr '\\n' ' '; cat e; ls -A a/b nowhere/at";
    let expected = "a a/b a/b/six a/two d d/seven e nowhere nowhere/at new\na/b:\nsix\n\nnowhere/at:\n";
    let ran = sh(vm.as_mut(), &format!("cd /; {seen}")).await;
    assert_eq!(ran.out(), expected, "{}", said(&ran));
    // What a step hides lies over what the image hid.
    let ran = sh(vm.as_mut(), "cd /; rm -r a && mkdir -p a c && ls -A a c").await;
    assert_eq!(ran.out(), "a:\n\nc:\n", "{}", said(&ran));
    vm.destroy().await.unwrap();
}

async fn a_hundred_layers_are_one_root(world: &World) {
    let mut image = ImageBuilder::busybox();
    for number in 0..100 {
        let layer = Layer::new().file(&format!("many/{number}"), number.to_string());
        let layer = if number > 0 {
            layer.whiteout(&format!("many/{}", number - 1))
        } else {
            layer
        };
        image = image.layer(layer.file("last", number.to_string()));
    }
    let path = world.directory.path().join("hundred.tar");
    std::fs::write(&path, image.build().layout_archive("hundred:1")).unwrap();
    let mut vm = world.machine_of(path.to_str().unwrap()).await;
    let ran = sh(vm.as_mut(), "cat /last; ls /many; ls /bin | wc -l").await;
    assert!(ran.out().starts_with("9999\n"), "{}", said(&ran));
    // Snapshots on it, each a layer more.
    for number in 0..30 {
        let ran = sh(
            vm.as_mut(),
            &format!("echo {number} > /step-{number}; ls -d /step-* | wc -l"),
        )
        .await;
        assert_eq!(ran.out().trim(), (number + 1).to_string(), "{}", said(&ran));
        vm.snapshot().await.unwrap();
    }
    vm.destroy().await.unwrap();
}

async fn files_are_what_they_were_packed_as(world: &World) {
    let layer = Layer::new()
        .directory("srv", 0o751)
        .modified(981_173_106)
        .file_with("srv/program", 0o4755, "setuid")
        .hard_link("srv/again", "srv/program")
        .symlink("srv/absolute", "/srv/program")
        .symlink("srv/dangling", "/nowhere")
        .owned_by(33, 34)
        .file_with("srv/owned", 0o640, "www")
        .directory("srv/closed", 0o000)
        .file_with("srv/closed/inside", 0o400, "in")
        .entry(tar::EntryType::Fifo, "srv/pipe", "", 0o622, &[])
        .device("dev/null", 1, 3)
        .xattr("user.note", b"one\ntwo")
        .file("srv/noted", "x");
    let path = world.directory.path().join("files.tar");
    std::fs::write(
        &path,
        ImageBuilder::busybox()
            .layer(layer)
            .build()
            .docker_archive("files:1"),
    )
    .unwrap();
    let mut vm = world.machine_of(path.to_str().unwrap()).await;
    let ran = sh(
        vm.as_mut(),
        "cd /srv; stat -c '%n %a %h %Y %u:%g' program owned closed pipe",
    )
    .await;
    let ids = super::persons::is_root() || ran.out().contains("33:34");
    let owner = if ids { "33:34" } else { "0:0" };
    let expected = format!(
        "program 4755 2 981173106 0:0\nowned 640 1 981173106 {owner}\nclosed 0 2 981173106 {owner}\n\
         pipe 622 1 981173106 {owner}\n"
    );
    assert_eq!(ran.out(), expected, "{}", said(&ran));
    let ran = sh(
        vm.as_mut(),
        "cd /srv; cat absolute again closed/inside; readlink dangling; echo x > /dev/null",
    )
    .await;
    assert_eq!(ran.out(), "setuidsetuidin/nowhere\n", "{}", said(&ran));
    vm.destroy().await.unwrap();
}

async fn images_come_from_files_too(world: &World) {
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("etc/greeting", "from a file\n"))
        .build();
    let path = |name: &str| world.directory.path().join(name);
    image.write_layout(&path("layout"), "greeter:1");
    let layout = image.layout_archive("greeter:1");
    let saved = image.docker_archive("greeter:1");
    std::fs::write(path("layout.tar.zst"), zstd::encode_all(&layout[..], 1).unwrap()).unwrap();
    std::fs::write(path("layout.tar"), layout).unwrap();
    std::fs::write(path("saved.tar"), saved).unwrap();
    for name in ["layout", "layout.tar", "layout.tar.zst", "saved.tar"] {
        let mut vm = world.machine_of(path(name).to_str().unwrap()).await;
        let ran = sh(vm.as_mut(), "cat /etc/greeting").await;
        assert_eq!(ran.out(), "from a file\n", "{name}: {}", said(&ran));
        vm.destroy().await.unwrap();
    }
    let images = world.backend.images().unwrap();
    // One image by its manifest, one by its configuration; their layers are the same.
    assert_eq!(images.list().await.unwrap().len(), 2);
    assert_eq!(std::fs::read_dir(world.data.join("oci/l")).unwrap().count(), 2);
    let named = ImageReference::new("brought:1");
    images.import(&path("saved.tar"), &named).await.unwrap();
    let mut vm = world.machine_of("brought:1").await;
    let ran = sh(vm.as_mut(), "cat /etc/greeting").await;
    assert_eq!(ran.out(), "from a file\n", "{}", said(&ran));
    vm.destroy().await.unwrap();
}

async fn a_snapshot_without_its_image_is_missing(world: &World) {
    let image = ImageBuilder::busybox().build();
    let path = world.directory.path().join("image.tar");
    std::fs::write(&path, image.layout_archive("image:1")).unwrap();
    let mut vm = world.machine_of(path.to_str().unwrap()).await;
    sh(vm.as_mut(), "echo x > /x").await;
    let snapshot = vm.snapshot().await.unwrap();
    vm.destroy().await.unwrap();
    let source = hm_source::Source::empty();
    let images = world.backend.images().unwrap();
    let in_use = images.remove(&image.digest()).await.unwrap_err().to_string();
    assert!(in_use.contains("in use"), "{in_use}");
    assert_eq!(
        world.backend.check(&snapshot.id, &source).await.unwrap(),
        SnapshotCheck::Usable
    );
    // Another run, after this one's end.
    let other = hm_sandbox::SandboxBackend::new(world.config.clone()).unwrap();
    world.backend.shutdown().await;
    drop(in_use);
    let store = world.data.join("oci/l");
    for layer in std::fs::read_dir(&store).unwrap().flatten() {
        std::fs::rename(layer.path(), world.directory.path().join("taken")).unwrap();
    }
    assert_eq!(
        other.check(&snapshot.id, &source).await.unwrap(),
        SnapshotCheck::Missing
    );
    // What can be had again is had again.
    let mut vm = other.restore(&snapshot.id).await.unwrap();
    vm.inject(std::sync::Arc::new(hm_source::Source::empty()))
        .await
        .unwrap();
    let ran = sh(vm.as_mut(), "cat /x").await;
    assert_eq!(ran.out(), "x\n", "{}", said(&ran));
    vm.destroy().await.unwrap();
    other.shutdown().await;
}
