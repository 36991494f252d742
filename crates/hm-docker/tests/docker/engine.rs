//! What the backend does with one engine, beyond what every backend does.

use std::sync::Arc;

use hm_docker::testing::{Dockerd, Reach as Reached};
use hm_oci::testing::ImageBuilder;
use hm_source::{SourceOptions, SourceStore};
use hm_vm::{ExecRequest, ImageReference, KillReason, Network as Reach, VmBackend, VmError};

use crate::secrets;
use crate::support::{Engine, World, during};

/// Each case is a test of its own in all but the engine that it starts.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_serves_machines() {
    let engine = Engine::docker();
    let world = World::new(&engine);
    eprintln!("a_secret_is_nowhere_else");
    secrets::a_secret_is_nowhere_else(&engine, &world).await;
    eprintln!("strange_words_come_through");
    strange_words_come_through(&world).await;
    eprintln!("limits_are_kept");
    limits_are_kept(&world).await;
    eprintln!("only_changes_of_the_source_are_sent");
    only_changes_of_the_source_are_sent(&engine, &world).await;
    eprintln!("images_come_in_every_form");
    images_come_in_every_form(&engine, &world).await;
    eprintln!("images_with_a_source_are_bounded_in_number");
    images_with_a_source_are_bounded_in_number(&world).await;
    eprintln!("what_the_dead_left_goes");
    what_the_dead_left_goes(&engine, &world).await;
    eprintln!("nothing_of_its_users_is_touched");
    nothing_of_its_users_is_touched(&engine, &world).await;
}

/// Variables and arguments hold any text, whatever a shell makes of it.
async fn strange_words_come_through(world: &World) {
    let strange: String = "é ぁ\u{1}\u{7f}'\"\\$`!*?[]{}~#;&|<>()\t\r\n\n-- %s\\n\\101 ".into();
    let all: String = (1..=0x10ffff_u32)
        .step_by(977)
        .filter_map(char::from_u32)
        .collect();
    for word in [strange, all, "x".repeat(100_000)] {
        let vm = world.machine().await;
        let mut request = ExecRequest::shell("");
        request.argv = ["printf", "%s", &word].map(Into::into).into();
        assert!(world.run(vm.as_ref(), &request).await.stdout == word.as_bytes());
        request.argv = ["sh", "-c", "printf %s \"$WORD\""].map(Into::into).into();
        request.env = [
            ("WORD".to_owned(), word.clone()),
            ("no-name.of.a-shell".to_owned(), "y".into()),
        ]
        .into();
        assert!(world.run(vm.as_ref(), &request).await.stdout == word.as_bytes());
        vm.destroy().await.unwrap();
    }
}

async fn limits_are_kept(world: &World) {
    let vm = world.machine().await;
    let mut request = ExecRequest::shell("x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo ${#x}");
    request.limits.memory = Some(32 << 20);
    let ran = world.run(vm.as_ref(), &request).await;
    assert_eq!(ran.outcome.killed, Some(KillReason::OutOfMemory), "{ran:?}");
    let mut request = ExecRequest::shell("dd if=/dev/zero of=big bs=1M count=40; sleep 5000");
    request.limits.disk = Some(20 << 20);
    let ran = world.run(vm.as_ref(), &request).await;
    assert_eq!(ran.outcome.killed, Some(KillReason::DiskFull), "{ran:?}");
    assert!(
        ran.outcome.notes.iter().any(|note| note.contains("disk limit")),
        "{ran:?}"
    );
    let mut request = ExecRequest::shell("ls /sys/class/net");
    request.network = Reach::None;
    request.limits.pids = Some(50);
    request.limits.cpus = Some(0.5);
    assert_eq!(world.run(vm.as_ref(), &request).await.out(), "lo\n");
    vm.destroy().await.unwrap();
}

/// A worktree that changes by one file costs one small image, whatever else is in it; a command sees its times.
async fn only_changes_of_the_source_are_sent(engine: &Engine, world: &World) {
    let tree = world.directory.path().join("tree");
    let store = world.directory.path().join("sources");
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(tree.join("large"), vec![b'x'; 20_000_000]).unwrap();
    std::fs::write(tree.join("small"), "1").unwrap();
    let freeze = || {
        let frozen = SourceStore::new(store.clone()).freeze(&tree, &SourceOptions::default());
        Arc::new(frozen.unwrap())
    };
    let sizes = || {
        let listed = engine.says(&["images", "--format", "{{.ID}}", "localhost/hm-sourced"]);
        listed.len()
    };
    let before = sizes();
    for round in 1..=4 {
        std::fs::write(tree.join("small"), format!("{round}")).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_500_000_000 + round, 123_456_789);
        let small = std::fs::File::options()
            .write(true)
            .open(tree.join("small"))
            .unwrap();
        small.set_modified(time).unwrap();
        drop(small);
        let source = freeze();
        for _ in 0..2 {
            let vm = world.machine_with(source.clone()).await;
            let ran = world
                .sh(vm.as_ref(), "cat small; stat -c ' %Y' small; wc -c < large")
                .await;
            // The engine keeps whole seconds: the next one, so that no change is ever older than what was built before it.
            let expected = format!("{round} {}\n20000000\n", 1_500_000_001 + round);
            assert_eq!(ran.out(), expected, "{ran:?}");
            vm.destroy().await.unwrap();
        }
        // The whole source once, and beside it what differs now.
        let made = sizes() - before;
        assert_eq!(made, if round == 1 { 1 } else { 2 }, "round {round}");
    }
    let usage = world.backend.usage().await.unwrap();
    assert!((20_000_000..25_000_000).contains(&usage.bytes), "{usage:?}");
    std::fs::remove_file(tree.join("small")).unwrap();
    let vm = world.machine_with(freeze()).await;
    assert_eq!(world.sh(vm.as_ref(), "ls").await.out(), "large\n");
    vm.destroy().await.unwrap();
}

async fn images_come_in_every_form(engine: &Engine, world: &World) {
    let built = ImageBuilder::busybox().env("WHO", "me").build();
    let at = |name: &str| world.directory.path().join(name);
    built.write_layout(&at("layout"), "built:1");
    std::fs::write(at("layout.tar"), built.layout_archive("built:1")).unwrap();
    std::fs::write(at("saved.tar"), built.docker_archive("built:1")).unwrap();
    let tarball = std::process::Command::new("tar")
        .args(["-czf"])
        .arg(at("rootfs.tgz"))
        .arg("-C")
        .arg(world.image.as_str())
        .arg(".")
        .status();
    assert!(tarball.unwrap().success());
    for (name, who) in [
        ("layout", "me"),
        ("layout.tar", "me"),
        ("saved.tar", "me"),
        ("rootfs.tgz", ""),
    ] {
        let reference = ImageReference::new(at(name).to_string_lossy());
        let image = world.backend.resolve(&reference).await.unwrap();
        let images = engine.says(&["images", "--quiet"]).len();
        let again = world.backend.resolve(&reference).await.unwrap();
        assert_eq!(image, again, "{name}");
        assert_eq!(
            engine.says(&["images", "--quiet"]).len(),
            images,
            "{name} is loaded once"
        );
        let vm = world.backend.create(&image).await.unwrap();
        let ran = world.sh(vm.as_ref(), "echo $WHO").await;
        assert_eq!(ran.out().trim(), who, "{name}: {ran:?}");
        vm.destroy().await.unwrap();
    }
    std::fs::write(at("junk"), "this is no archive").unwrap();
    for wrong in ["junk", "no-such-file"] {
        let reference = ImageReference::new(at(wrong).to_string_lossy());
        let error = world.backend.resolve(&reference).await.unwrap_err();
        assert!(matches!(error, VmError::ImageNotFound { .. }), "{wrong}: {error}");
    }
    let host = world
        .backend
        .resolve(&ImageReference::new("host"))
        .await
        .unwrap_err();
    assert!(host.to_string().contains("sandbox"), "{host}");
    let images = world.backend.images().unwrap();
    let name = ImageReference::new("my/own:1");
    images.import(&at("saved.tar"), &name).await.unwrap();
    let found = world.backend.resolve(&name).await.unwrap();
    let listed = images.list().await.unwrap();
    assert!(
        listed
            .iter()
            .any(|image| image.digest == found.digest && image.references == ["my/own:1"]),
        "{listed:?}"
    );
    assert!(images.usage().await.unwrap() > 0);
    images.remove("my/own:1").await.unwrap();
    assert!(world.backend.resolve(&name).await.is_err());
    images.collect(0).await.unwrap();
    assert_eq!(images.list().await.unwrap(), []);
}

/// Those that machines began from last are kept, and those that one may be about to begin from.
async fn images_with_a_source_are_bounded_in_number(world: &World) {
    let directory = world.state("sourced");
    let before = std::fs::read_dir(&directory).unwrap().count();
    let now = std::time::SystemTime::now();
    for minutes in 0..40 {
        let file = std::fs::File::create(directory.join(format!("made{minutes}.json"))).unwrap();
        let used = now - std::time::Duration::from_secs(minutes * 60);
        file.set_modified(used).unwrap();
    }
    world.backend.reclaim().await.unwrap();
    let left: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("made"))
        .collect();
    assert!((16 - before..=16).contains(&left.len()), "{left:?}");
    assert!(left.contains(&"made0.json".to_owned()), "{left:?}");
    for name in left {
        std::fs::remove_file(directory.join(name)).unwrap();
    }
}

/// What a process that was killed had in the engine goes when the next one reclaims; a living one's stays.
async fn what_the_dead_left_goes(engine: &Engine, world: &World) {
    let living = world.machine().await;
    let ran = world.sh(living.as_ref(), "echo kept > /kept").await;
    assert_eq!(ran.code(), 0, "{ran:?}");
    let before = engine.left();
    let dead = world.another(engine);
    let request = ExecRequest::shell("echo ready; sleep 5000");
    let vm = dead.machine().await;
    during(vm.as_ref(), &request, async {
        // Its lock goes with its file as it goes with a process; the container runs on.
        dead.forget_owner();
        assert!(engine.running().len() > 1);
        world.backend.reclaim().await.unwrap();
        assert_eq!(engine.left(), before);
    })
    .await;
    drop(vm);
    dead.backend.shutdown().await;
    assert_eq!(world.sh(living.as_ref(), "cat /kept").await.out(), "kept\n");
    living.destroy().await.unwrap();
}

async fn nothing_of_its_users_is_touched(engine: &Engine, world: &World) {
    let mut vm = world.machine().await;
    world.sh(vm.as_ref(), "echo x > /x").await;
    let snapshot = vm.snapshot().await.unwrap();
    vm.destroy().await.unwrap();
    let image = format!("localhost/hm-snapshot:{}", snapshot.id);
    // A person looks into a snapshot by hand.
    engine.says(&["create", "--name", "theirs", &image, "sh"]);
    engine.says(&["tag", &image, "their/image:1"]);
    engine.says(&["volume", "create", "their-volume"]);
    world.backend.reclaim().await.unwrap();
    world.backend.remove(&snapshot.id).await.unwrap();
    let images = world.backend.images().unwrap();
    images.collect(0).await.unwrap();
    let refused = images.remove("their/image:1").await.unwrap_err();
    assert!(refused.to_string().contains("docker rmi"), "{refused}");
    assert!(
        engine
            .running()
            .iter()
            .any(|container| container.starts_with("theirs "))
    );
    assert_eq!(engine.says(&["images", "--quiet", "their/image:1"]).len(), 1);
    assert!(
        engine
            .says(&["volume", "ls", "--quiet"])
            .contains(&"their-volume".to_owned())
    );
}

/// A daemon of the tests removes the bridge that it finds: it must not find this machine's.
#[test]
fn test_engine_leaves_the_machines_network_alone() {
    let interfaces = || -> std::collections::BTreeSet<_> {
        let listed = std::fs::read_dir("/sys/class/net").unwrap();
        listed.map(|interface| interface.unwrap().file_name()).collect()
    };
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let before = interfaces();
    for reach in [Reached::Localhost, Reached::Bridge] {
        let daemon = Dockerd::start(reach);
        let pid = std::fs::read_to_string(daemon.pid_file()).unwrap();
        let network = std::fs::read_link(format!("/proc/{}/ns/net", pid.trim())).unwrap();
        assert_ne!(network, own, "it has a network of its own");
        assert!(interfaces().is_superset(&before), "{before:?}");
    }
}

/// An engine that is not there, or that nobody may use, is told at once, with what to do.
#[tokio::test]
async fn an_engine_that_is_missing_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("tcp://{}", silent.local_addr().unwrap());
    drop(silent);
    let missing = format!("unix://{}", directory.path().join("none").display());
    for (host, words) in [
        (missing.as_str(), "no engine runs"),
        (closed.as_str(), "DOCKER_HOST"),
        ("ssh://somewhere", "ssh -L"),
        ("nonsense", "no address"),
    ] {
        let mut config = hm_docker::DockerConfig::new(directory.path());
        config.host = Some(host.into());
        let backend = hm_docker::DockerBackend::new(config).unwrap();
        let error = backend.ready().await.unwrap_err().to_string();
        assert!(error.contains(words), "{host}: {error}");
    }
}
