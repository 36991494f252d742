//! Images: a root filesystem directory and tarballs of one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use hm_vm::{ImageReference, VmBackend};

use super::persons::everyone;
use super::support::{World, said, sh, write};

everyone![
    a_directory_is_an_image,
    tarballs_are_images,
    a_hostile_tarball_reaches_nothing,
    a_damaged_tarball_is_an_error,
    a_directory_above_hms_data_is_refused,
    an_image_without_a_shell_says_so,
];

/// A root filesystem with a shell and a few programs: the host's, with the libraries that they need.
fn root_filesystem(at: &Path) {
    let mut files: Vec<PathBuf> = Vec::new();
    for program in ["sh", "cat", "ls", "stat", "id", "touch", "chown"] {
        let path = ["/bin", "/usr/bin"]
            .iter()
            .map(|directory| Path::new(directory).join(program))
            .find(|path| path.exists())
            .unwrap();
        let listed = Command::new("ldd").arg(&path).output().unwrap();
        files.extend(
            String::from_utf8_lossy(&listed.stdout)
                .split_whitespace()
                .filter(|word| word.starts_with('/'))
                .map(PathBuf::from),
        );
        let inside = at.join("bin").join(program);
        std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
        std::fs::copy(path, inside).unwrap();
    }
    for library in files {
        let inside = at.join(library.strip_prefix("/").unwrap());
        std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
        std::fs::copy(library, inside).unwrap();
    }
    write(&at.join("etc/image"), "tiny\n");
    // What a frame must not follow.
    std::os::unix::fs::symlink("/etc", at.join("proc")).unwrap();
    std::os::unix::fs::symlink("/", at.join("workspace")).unwrap();
}

fn tarball(root: &Path) -> tar::Builder<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.mode(tar::HeaderMode::Deterministic);
    builder.append_dir_all(".", root).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_uid(33);
    header.set_gid(33);
    header.set_mode(0o640);
    header.set_size(4);
    builder
        .append_data(&mut header, "srv/owned", &b"www\n"[..])
        .unwrap();
    builder
}

async fn tries(world: &World, image: &Path) {
    let mut vm = world.machine_of(image.to_str().unwrap()).await;
    for (command, expected) in [
        ("cat /etc/image", "tiny\n"),
        ("cat /etc/resolv.conf", "nameserver 169.254.1.1\n"),
        ("ls /workspace; ls /usr/bin/gcc", ""),
        ("id -u; echo $HOME", "0\n/root\n"),
        ("echo more >> /etc/image; cat /etc/image", "tiny\nmore\n"),
        ("cat /proc/self/comm", "cat\n"),
        ("echo x > /workspace/x && cat x", "x\n"),
    ] {
        let ran = sh(vm.as_mut(), command).await;
        assert_eq!(ran.out(), expected, "{command}: {}", said(&ran));
    }
    let snapshot = vm.snapshot().await.unwrap();
    vm.destroy().await.unwrap();
    let mut vm = world.backend.restore(&snapshot.id).await.unwrap();
    let ran = sh(vm.as_mut(), "cat /etc/image x").await;
    assert_eq!(ran.out(), "tiny\nmore\nx\n", "{}", said(&ran));
    vm.destroy().await.unwrap();
}

async fn a_directory_is_an_image(world: &World) {
    let root = world.directory.path().join("root");
    root_filesystem(&root);
    tries(world, &root).await;
    assert_eq!(std::fs::read_to_string(root.join("etc/image")).unwrap(), "tiny\n");
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

async fn tarballs_are_images(world: &World) {
    let root = world.directory.path().join("root");
    root_filesystem(&root);
    let plain = tarball(&root).into_inner().unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(&plain).unwrap();
    let packed = [
        ("root.tar.xz", xz.finish().unwrap()),
        ("root.tar", plain.clone()),
        ("root.tar.gz", gzipped(&plain)),
        ("root.tar.zst", zstd::encode_all(&plain[..], 1).unwrap()),
    ];
    for (name, bytes) in packed {
        let image = world.directory.path().join(name);
        std::fs::write(&image, bytes).unwrap();
        tries(world, &image).await;
        let mut vm = world.machine_of(image.to_str().unwrap()).await;
        let ran = sh(vm.as_mut(), "cat /srv/owned; stat -c %u:%g /srv/owned /bin/sh").await;
        // A user who is alone in the step owns everything in it.
        assert!(
            ["www\n33:33\n0:0\n", "www\n0:0\n0:0\n"].contains(&ran.out().as_str()),
            "{}",
            said(&ran)
        );
        vm.destroy().await.unwrap();
    }
}

/// A tar entry with a name that no honest program writes.
fn entry(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, link: &str, text: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    builder.append(&header, text.as_bytes()).unwrap();
}

async fn a_hostile_tarball_reaches_nothing(world: &World) {
    use tar::EntryType::{Link, Regular, Symlink};

    let root = world.directory.path().join("root");
    root_filesystem(&root);
    let outside = world.directory.path().join("outside");
    write(&outside.join("secret"), &world.marker);
    let absolute = outside.to_str().unwrap();
    let up = "../".repeat(9);
    let cases: Vec<Vec<(tar::EntryType, String, String)>> = vec![
        vec![(Regular, "../escaped".into(), String::new())],
        vec![(Regular, format!("{up}{absolute}/escaped"), String::new())],
        vec![(Regular, format!("{absolute}/escaped"), String::new())],
        vec![
            (Symlink, "out".into(), absolute.into()),
            (Regular, "out/escaped".into(), String::new()),
        ],
        vec![
            (Symlink, "out".into(), format!("{up}{absolute}")),
            (Regular, "out/escaped".into(), String::new()),
        ],
        vec![
            (Symlink, "file".into(), format!("{absolute}/secret")),
            (Regular, "file".into(), String::new()),
        ],
        vec![(Link, "hard".into(), format!("{absolute}/secret"))],
        vec![(Link, "hard".into(), format!("{up}{absolute}/secret"))],
        vec![
            (Symlink, "out".into(), absolute.into()),
            (Link, "hard".into(), "out/secret".into()),
        ],
    ];
    for (number, case) in cases.iter().enumerate() {
        let mut builder = tarball(&root);
        for (kind, name, link) in case {
            let text = if *kind == Regular { "hostile" } else { "" };
            entry(&mut builder, *kind, name, link, text);
        }
        let image = world.directory.path().join(format!("hostile-{number}.tar"));
        std::fs::write(&image, builder.into_inner().unwrap()).unwrap();
        let reference = ImageReference::new(image.to_str().unwrap());
        let resolved = world.backend.resolve(&reference).await.unwrap();
        match world.backend.create(&resolved).await {
            Err(error) => assert!(error.to_string().contains("hostile-"), "{error}"),
            Ok(mut vm) => {
                let ran = sh(vm.as_mut(), "cat /hard /file /out/secret; ls /").await;
                assert!(!said(&ran).contains(&world.marker), "{case:?}: {}", said(&ran));
                vm.destroy().await.unwrap();
            }
        }
        let left: Vec<_> = std::fs::read_dir(&outside).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{case:?}: {left:?}");
        let secret = std::fs::read_to_string(outside.join("secret")).unwrap();
        assert_eq!(secret, world.marker, "{case:?}");
    }
    for above in [
        world.directory.path(),
        world.data.as_path(),
        &world.data.join("sandbox"),
        &world.data.join("sandbox/images"),
    ] {
        assert!(!above.join("escaped").exists(), "{}", above.display());
    }
}

async fn a_damaged_tarball_is_an_error(world: &World) {
    let root = world.directory.path().join("root");
    root_filesystem(&root);
    let whole = tarball(&root).into_inner().unwrap();
    let gzip = gzipped(&whole);
    for (name, bytes) in [
        ("cut.tar", &whole[..whole.len() / 2]),
        ("cut.tar.gz", &gzip[..gzip.len() / 2]),
        ("no.tar", &b"this is no archive at all"[..]),
    ] {
        let image = world.directory.path().join(name);
        std::fs::write(&image, bytes).unwrap();
        let reference = ImageReference::new(image.to_str().unwrap());
        // What is no archive at all is told at once, what ends too early when it is unpacked.
        let error = match world.backend.resolve(&reference).await {
            Ok(resolved) if name != "no.tar" => world.backend.create(&resolved).await.err(),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let error = error.unwrap_or_else(|| panic!("{name} is an image")).to_string();
        assert!(error.contains(name), "{error}");
    }
}

async fn a_directory_above_hms_data_is_refused(world: &World) {
    let above = world.data.parent().unwrap();
    let reference = ImageReference::new(above.to_str().unwrap());
    let error = world.backend.resolve(&reference).await.unwrap_err().to_string();
    assert!(error.contains("hm's own data lie in it"), "{error}");
}

async fn an_image_without_a_shell_says_so(world: &World) {
    let root = world.directory.path().join("root");
    write(&root.join("etc/image"), "nothing to run\n");
    let mut vm = world.machine_of(root.to_str().unwrap()).await;
    let ran = sh(vm.as_mut(), "true").await;
    assert_eq!(ran.code(), 127);
    assert!(
        String::from_utf8_lossy(&ran.stderr).contains("cannot run sh"),
        "{}",
        said(&ran)
    );
    vm.destroy().await.unwrap();
}
