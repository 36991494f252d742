//! What a step must not change on the host.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::persons::{everyone, is_root};
use super::support::{World, said, sh, write};

everyone![
    the_hosts_system_stays_as_it_is,
    the_hosts_devices_stay_as_they_are,
    a_step_makes_no_devices,
    the_source_and_the_worktree_are_two_things,
];

async fn the_hosts_system_stays_as_it_is(world: &World) {
    let name = format!("hm-test-{}", uuid::Uuid::new_v4().simple());
    let passwd = std::fs::read("/etc/passwd").unwrap();
    let env = std::fs::read("/usr/bin/env").unwrap();
    let mut vm = world.machine().await;
    let changes = [
        format!("echo x > /etc/{name} && cat /etc/{name}"),
        format!("echo {name} >> /etc/passwd && grep -x {name} /etc/passwd"),
        format!("echo x > /usr/bin/{name} && cat /usr/bin/{name}"),
        "rm /etc/passwd && ! test -e /etc/passwd".to_owned(),
        "rm -rf /etc/apt /usr/share/doc /opt; ! test -e /usr/share/doc".to_owned(),
        "chmod 777 /usr/bin && chown 1:1 /usr".to_owned(),
        "rm /usr/bin/env && ! test -e /usr/bin/env".to_owned(),
    ];
    for change in &changes {
        let ran = sh(vm.as_mut(), change).await;
        // In a user's step the host's root is nobody, so most of these fail there; root sees what it wrote.
        assert!(ran.code() == 0 || !is_root(), "{change}: {}", said(&ran));
    }
    for change in [
        format!("echo x > /{name} && cat /{name}"),
        format!("echo x > /tmp/{name} && cat /tmp/{name}"),
        format!("mkdir /var/lib/{name}"),
    ] {
        let ran = sh(vm.as_mut(), &change).await;
        assert_eq!(ran.code(), 0, "{change}: {}", said(&ran));
    }
    vm.destroy().await.unwrap();
    for directory in ["/", "/etc", "/usr/bin", "/tmp", "/var/lib"] {
        assert!(!Path::new(directory).join(&name).exists(), "{directory}");
    }
    assert_eq!(std::fs::read("/etc/passwd").unwrap(), passwd);
    assert_eq!(std::fs::read("/usr/bin/env").unwrap(), env);
    assert!(Path::new("/usr/share/doc").is_dir());
    let usr = std::fs::metadata("/usr").unwrap();
    assert_eq!((usr.uid(), usr.mode() & 0o022), (0, 0));
}

async fn the_hosts_devices_stay_as_they_are(world: &World) {
    let devices = ["null", "zero", "full", "random", "urandom", "tty"];
    let look = || {
        devices.map(|device| {
            let metadata = std::fs::metadata(Path::new("/dev").join(device)).unwrap();
            (metadata.mode(), metadata.uid(), metadata.gid())
        })
    };
    let before = look();
    let mut vm = world.machine().await;
    for device in devices {
        for change in [
            "chmod 600",
            "chown 1:1",
            "rm -f",
            "touch -d 2001-01-01",
            "mv -t /tmp",
        ] {
            let ran = sh(vm.as_mut(), &format!("{change} /dev/{device}")).await;
            let after = look();
            if after != before {
                // This machine is needed by others.
                let _ = std::fs::set_permissions(
                    Path::new("/dev").join(device),
                    std::fs::Permissions::from_mode(0o666),
                );
                let _ = std::os::unix::fs::chown(Path::new("/dev").join(device), Some(0), Some(0));
            }
            assert_eq!(after, before, "{change} /dev/{device} reaches the host");
            assert_ne!(ran.code(), 0, "{change} /dev/{device}");
        }
    }
    let ran = sh(
        vm.as_mut(),
        "echo x > /dev/null && head -c 3 /dev/zero | wc -c && ls -A /dev",
    )
    .await;
    assert_eq!(
        ran.out(),
        "3\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n",
        "{}",
        said(&ran)
    );
    vm.destroy().await.unwrap();
}

async fn a_step_makes_no_devices(world: &World) {
    for node in ["block b 259 0", "sda b 8 0", "mem c 1 1", "kmsg c 1 11"] {
        for directory in ["/tmp", "/workspace", "/dev/shm", "/root"] {
            world.fails(&format!("mknod {directory}/{node}")).await;
        }
    }
    world.passes("mkfifo /tmp/fifo").await;
}

async fn the_source_and_the_worktree_are_two_things(world: &World) {
    use hm_source::{SourceOptions, SourceStore};
    use hm_vm::{ImageReference, VmBackend};

    let tree = world.directory.path().join("tree");
    write(&tree.join("file"), "the author's");
    write(&tree.join("deep/file"), "the author's");
    let store = SourceStore::new(world.directory.path().join("data/sources"));
    let source = store.freeze(&tree, &SourceOptions::default()).unwrap();
    let image = world.backend.resolve(&ImageReference::new("host")).await.unwrap();
    let mut vm = world.backend.create(&image).await.unwrap();
    vm.inject(std::sync::Arc::new(source)).await.unwrap();
    let change = "echo step > file && rm -r deep && echo more > more && chmod 777 . && ls";
    let ran = sh(vm.as_mut(), change).await;
    assert_eq!(ran.out(), "file\nmore\n", "{}", said(&ran));
    vm.destroy().await.unwrap();
    for file in ["file", "deep/file"] {
        assert_eq!(std::fs::read_to_string(tree.join(file)).unwrap(), "the author's");
    }
    assert!(!tree.join("more").exists());
}
