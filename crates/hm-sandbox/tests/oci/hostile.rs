//! Layers that no honest program writes: each is refused, and nothing outside is touched.

use std::os::unix::fs::MetadataExt;

use hm_oci::testing::{ImageBuilder, Layer, Packing, digest};
use hm_oci::unpack::{Form, Unpack, UnpackError, unpack};
use tar::EntryType;

use super::support::{Place, World, entries};

fn link(kind: EntryType, path: &str, target: &str) -> Layer {
    Layer::new().entry(kind, path, target, 0o777, &[])
}

#[test]
fn source_archive_gives_no_rights_away() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = Layer::new()
        .owned_by(1234, 1234)
        .directory("dir", 0o7000)
        .file_with("dir/setuid", 0o6755, "x")
        .file_with("secret", 0, "x")
        .xattr("security.capability", &capability)
        .xattr("user.note", b"x")
        .file_with("capable", 0o755, "x")
        .entry(EntryType::Fifo, "pipe", "", 0o7666, &[])
        .file(".wh.name", "x");
    let place = Place::new();
    let order = Unpack {
        form: Form::Source,
        ..place.order(&layer.blob().0)
    };
    unpack(&order).unwrap();
    let own = std::fs::metadata(place.root()).unwrap();
    for (name, mode) in [
        ("dir", 0o700),
        ("dir/setuid", 0o755),
        ("secret", 0o400),
        ("capable", 0o755),
        ("pipe", 0o666),
        (".wh.name", 0o644),
    ] {
        let path = place.root().join(name);
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o7777, mode, "{name}");
        assert_eq!((metadata.uid(), metadata.gid()), (own.uid(), own.gid()), "{name}");
        let mut names = [0; 256];
        assert_eq!(rustix::fs::llistxattr(&path, &mut names).unwrap(), 0, "{name}");
    }
}

#[test]
fn a_name_leads_out() {
    for path in [
        "../escaped",
        "a/../../escaped",
        "a/b/../../../escaped",
        "..",
        "a/..",
    ] {
        let error = Place::new().refuses(&Layer::new().file(path, "x"));
        assert!(error.contains("leads out of the image"), "{path}: {error}");
    }
}

#[test]
fn a_name_is_absolute() {
    let place = Place::new();
    let path = place.outside().join("escaped");
    let error = place.refuses(&Layer::new().file(path.to_str().unwrap(), "x"));
    assert!(error.contains("is an absolute path"), "{error}");
}

#[test]
fn a_symbolic_link_is_a_parent() {
    let place = Place::new();
    let outside = place.outside();
    for target in [
        outside.to_str().unwrap(),
        "../outside",
        "./../outside",
        "a/../../outside",
    ] {
        let layer = Layer::new().directory("a", 0o755).symlink("out", target);
        let error = place.refuses(&layer.clone().file("out/escaped", "x"));
        assert!(error.contains("leads out of the image"), "{target}: {error}");
        let error = Place::new().refuses(&layer.hard_link("hard", "out/secret"));
        assert!(error.contains("which this archive has not"), "{target}: {error}");
        std::fs::remove_dir_all(place.root()).unwrap();
        std::fs::create_dir(place.root()).unwrap();
    }
}

#[test]
fn a_dangling_symbolic_link_is_a_parent() {
    let layer = Layer::new().symlink("out", "nowhere").file("out/escaped", "x");
    let error = Place::new().refuses(&layer);
    assert!(error.contains("`out` is no directory"), "{error}");
}

#[test]
fn a_symbolic_link_is_written_through() {
    let place = Place::new();
    let secret = place.outside().join("secret");
    let layer = link(EntryType::Symlink, "file", secret.to_str().unwrap()).file("file", "mine");
    // An honest archive may have a file twice: the later one counts, and the link is gone.
    place.unpack(&layer).unwrap();
    place.is_untouched();
    assert_eq!(
        std::fs::read_to_string(place.root().join("file")).unwrap(),
        "mine"
    );
    for kind in [EntryType::Directory, EntryType::Fifo] {
        let place = Place::new();
        let outside = place.outside();
        let layer = link(EntryType::Symlink, "it", outside.to_str().unwrap());
        place.unpack(&layer.entry(kind, "it", "", 0o777, &[])).unwrap();
        place.is_untouched();
        assert!(!place.root().join("it").is_symlink());
        assert_ne!(std::fs::metadata(outside).unwrap().mode() & 0o777, 0o777);
    }
}

#[test]
fn a_symbolic_link_within_the_image_is_followed() {
    let place = Place::new();
    let layer = Layer::new()
        .directory("usr/lib", 0o755)
        .symlink("lib", "usr/lib")
        .file("lib/library", "x");
    place.unpack(&layer).unwrap();
    assert_eq!(
        std::fs::read_to_string(place.root().join("usr/lib/library")).unwrap(),
        "x"
    );
}

#[test]
fn a_hard_link_leads_out() {
    let place = Place::new();
    let secret = place.outside().join("secret");
    for target in [
        secret.to_str().unwrap(),
        "../outside/secret",
        "a/../../outside/secret",
        "nowhere",
        "",
    ] {
        let layer = Layer::new().directory("a", 0o755).hard_link("hard", target);
        Place::new().refuses(&layer);
        place.refuses(&layer);
        assert!(!place.root().join("hard").exists(), "{target}");
    }
    assert_eq!(std::fs::metadata(secret).unwrap().nlink(), 1);
}

#[test]
fn a_hard_link_to_a_symbolic_link_is_one() {
    let place = Place::new();
    let secret = place.outside().join("secret");
    let layer = link(EntryType::Symlink, "soft", secret.to_str().unwrap()).hard_link("hard", "soft");
    place.unpack(&layer.file("hard", "mine")).unwrap();
    place.is_untouched();
    assert_eq!(
        std::fs::read_to_string(place.root().join("hard")).unwrap(),
        "mine"
    );
}

#[test]
fn device_nodes_are_refused() {
    let error = Place::new().refuses(&Layer::new().device("srv/disk", 8, 0));
    assert!(error.contains("device node"), "{error}");
    let error = Place::new().refuses(&Layer::new().device("dev/../disk", 8, 0));
    assert!(error.contains("leads out"), "{error}");
    // A whiteout by another name.
    let error = Place::new().refuses(&Layer::new().device("etc", 0, 0));
    assert!(error.contains("device node"), "{error}");
    // What every distribution has is left out: a step gets its own.
    let place = Place::new();
    place
        .unpack(&Layer::new().directory("dev", 0o755).device("dev/sda", 8, 0))
        .unwrap();
    assert!(entries(&place.root().join("dev")).is_empty());
}

#[test]
fn names_and_headers_are_too_long() {
    let error = Place::new().refuses(&Layer::new().file(&"a".repeat(256), "x"));
    assert!(error.contains("too long"), "{error}");
    let error = Place::new().refuses(&Layer::new().file(&"a/".repeat(3000), "x"));
    assert!(error.contains("too long"), "{error}");
    let error = Place::new().refuses(&Layer::new().xattr("user.a", &vec![b'a'; 2 << 20]).file("a", "x"));
    assert!(error.contains("extended headers"), "{error}");
}

#[test]
fn a_name_has_a_nul() {
    let layer = Layer::new().pax("path", b"etc\0/passwd").file("a", "x");
    let error = Place::new().refuses(&layer);
    assert!(error.contains("has a NUL"), "{error}");
}

#[test]
fn an_extended_name_leads_out() {
    for (key, kind) in [("path", EntryType::Regular), ("linkpath", EntryType::Link)] {
        let layer = Layer::new()
            .pax(key, b"../outside/secret")
            .entry(kind, "a", "b", 0o644, &[]);
        Place::new().refuses(&layer);
    }
}

#[test]
fn whiteouts_hide_nothing_that_could_be() {
    for path in [
        ".wh...",
        "a/.wh..",
        ".wh.",
        ".wh.a/b",
        "../.wh.a",
        "a/../../.wh..wh..opq",
    ] {
        Place::new().refuses(&Layer::new().file(path, ""));
    }
    let place = Place::new();
    let outside = place.outside();
    let layer = link(EntryType::Symlink, "out", outside.to_str().unwrap());
    place.refuses(&layer.clone().file("out/.wh.secret", ""));
    let place = Place::new();
    place.unpack(&layer.clone().file("out/.wh..wh..opq", "")).unwrap();
    place.is_untouched();
    // The link is what is hidden, not what it leads to.
    let place = Place::new();
    place.unpack(&layer.file(".wh.out", "")).unwrap();
    place.is_untouched();
}

#[test]
fn a_bomb_is_too_much() {
    let mut place = Place::new();
    place.limits.bytes = 10 << 20;
    let zeros = vec![0; 20 << 20];
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let error = place.refuses(&Layer::new().file("bomb", &zeros).packed(packing));
        assert!(error.contains("unpacks to more than"), "{packing:?}: {error}");
    }
    let many = (0..200).fold(Layer::new(), |layer, number| layer.file(&number.to_string(), ""));
    place.limits.entries = 100;
    let error = place.refuses(&many);
    assert!(error.contains("more than 100 entries"), "{error}");
    place.limits.keep_free = u64::MAX / 2;
    let error = place.refuses(&Layer::new().file("a", "x"));
    assert!(error.contains("have to stay free"), "{error}");
}

#[test]
fn a_header_promises_more_than_there_is() {
    let layer = Layer::new().entry_of_size(EntryType::Regular, "a", "", 0o644, b"x", 1 << 40);
    let error = Place::new().refuses(&layer);
    assert!(error.contains("ends in the middle"), "{error}");
}

#[test]
fn an_archive_is_cut_off() {
    let whole = Layer::new()
        .directory("a", 0o755)
        .file("a/b", "x".repeat(100_000));
    let archive = whole.archive();
    let place = Place::new();
    for length in [10, 511, 513, 1024, 1025, 50_000, archive.len() - 1200] {
        let mut order = place.order(&archive[..length]);
        order.diff_id = Some(digest(&archive));
        let error = unpack(&order).unwrap_err();
        assert!(
            matches!(error, UnpackError::Damaged(_) | UnpackError::Digest { .. }),
            "{length}: {error}"
        );
        std::fs::remove_dir_all(place.root()).unwrap();
        std::fs::create_dir(place.root()).unwrap();
    }
    let (packed, _) = whole.packed(Packing::Gzip).blob();
    let error = unpack(&Place::new().order(&packed[..packed.len() / 2]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("damaged"), "{error}");
}

#[test]
fn a_digest_lies() {
    let place = Place::new();
    let (blob, _) = Layer::new().file("a", "x").blob();
    let mut order = place.order(&blob);
    order.diff_id = Some(digest(b"something else"));
    let error = unpack(&order).unwrap_err().to_string();
    assert!(error.contains("the unpacked archive has the digest"), "{error}");
    order.diff_id = None;
    order.digest = Some(digest(b"something else"));
    let error = unpack(&order).unwrap_err().to_string();
    assert!(error.contains("the packed archive has the digest"), "{error}");
}

#[test]
fn overlayfs_reads_no_attribute_of_a_layer() {
    let place = Place::new();
    let names = [
        "user.overlay.opaque",
        "user.overlay.redirect",
        "trusted.overlay.opaque",
        "user.note",
    ];
    let layer = names.iter().fold(Layer::new(), |layer, name| {
        layer.xattr(name, b"y").directory(&name.replace('.', "-"), 0o755)
    });
    place.unpack(&layer).unwrap();
    for name in names {
        let path = place.root().join(name.replace('.', "-"));
        let found = rustix::fs::lgetxattr(&path, name, &mut [0_u8; 8]).is_ok();
        assert_eq!(found, name == "user.note", "{name}");
    }
}

#[test]
fn odd_entries_are_refused_or_replaced() {
    let error = Place::new().refuses(&Layer::new().file("a/b", "x").symlink("a", "/"));
    assert!(error.contains("a directory with something in it"), "{error}");
    let error = Place::new().refuses(&Layer::new().file("a", "x").file("a/b", "x"));
    assert!(error.contains("`a` is no directory"), "{error}");
    let error = Place::new().refuses(&Layer::new().entry(EntryType::GNUSparse, "a", "", 0o644, b"x"));
    assert!(error.contains("sparse"), "{error}");
    let error = Place::new().refuses(&Layer::new().entry(EntryType::new(b'Z'), "a", "", 0o644, b"x"));
    assert!(error.contains("unknown kind"), "{error}");
    let place = Place::new();
    let layer = Layer::new()
        .directory("a", 0o700)
        .file("a", "x")
        .hard_link("a", "./a")
        .hard_link("b", "a");
    place.unpack(&layer).unwrap();
    assert_eq!(std::fs::read_to_string(place.root().join("b")).unwrap(), "x");
}

/// What is refused names the image and the layer, and nothing of it is to be seen.
#[tokio::test]
async fn a_hostile_image_is_refused_by_name() {
    let world = World::new();
    let image = ImageBuilder::busybox()
        .layer(Layer::new().file("../../../escaped", "x"))
        .build();
    let path = world.path("hostile.tar");
    std::fs::write(&path, image.layout_archive("hostile:1")).unwrap();
    let error = world.run().refuses(path.to_str().unwrap()).await;
    let layer = digest(&image.layers[1]);
    for part in [
        "hostile.tar",
        "layer 2 of 2",
        &layer,
        "`../../../escaped` leads out of the image",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(world.layers().len(), 1, "{:?}", world.layers());
    for above in ["", "data", "data/oci", "data/oci/l"] {
        assert!(!world.path(above).join("escaped").exists(), "{above}");
    }
}

/// Setuid programs of an image are out of reach for everybody else on this machine.
#[tokio::test]
async fn a_setuid_program_is_out_of_reach() {
    let world = World::new();
    let layer = Layer::new().file_with("bin/become-root", 0o4755, "x");
    let image = ImageBuilder::busybox().layer(layer).build();
    let path = world.path("setuid.tar");
    std::fs::write(&path, image.docker_archive("setuid:1")).unwrap();
    let run = world.run();
    run.open(path.to_str().unwrap()).await.unwrap();
    let program = world
        .layers()
        .into_iter()
        .map(|layer| layer.join("bin/become-root"));
    let program = program.into_iter().find(|path| path.exists()).unwrap();
    assert_eq!(std::fs::metadata(program).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(
        std::fs::metadata(world.data().join("oci")).unwrap().mode() & 0o777,
        0o700
    );
}
