//! Cache directories: generations, and who keeps them.

use std::path::Path;

use hm_vm::testing::contract::Ran;
use hm_vm::{CacheMount, Cancel, ExecRequest, KillReason, OutputChunk, VmBackend};
use tokio::sync::mpsc;

use super::persons::everyone;
use super::support::{World, run, said};

everyone![
    generations_go_when_nobody_uses_them,
    a_command_sees_one_generation_to_its_end,
    what_others_own_and_what_is_hidden_is_kept,
    one_in_use_cannot_be_removed,
    what_a_cache_takes_counts_as_written,
    places_and_names_that_are_none_are_refused,
];

const AT: &str = "/var/cache/here";

fn cached(command: &str) -> ExecRequest {
    ExecRequest {
        caches: vec![CacheMount {
            name: "cache".into(),
            path: AT.into(),
            keep: hm_vm::CacheKeep::default(),
        }],
        cwd: AT.into(),
        ..ExecRequest::shell(command)
    }
}

async fn passes(world: &World, command: &str) -> Ran {
    let ran = world.run(&cached(command)).await;
    assert_eq!(ran.code(), 0, "{command}: {}", said(&ran));
    assert!(ran.outcome.notes.is_empty(), "{:?}", ran.outcome.notes);
    ran
}

fn entries(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn generations(world: &World) -> Vec<String> {
    entries(&world.data.join("sandbox/caches/cache/g"))
}

async fn generations_go_when_nobody_uses_them(world: &World) {
    for number in 0..3 {
        passes(
            world,
            &format!("echo {number} > {number}; mkdir -p deep/{number}"),
        )
        .await;
        assert_eq!(generations(world).len(), 1, "{:?}", generations(world));
    }
    let before = generations(world);
    let ran = passes(world, "ls -R; cat 0 1 2").await;
    assert_eq!(
        ran.out(),
        ".:\n0\n1\n2\ndeep\n\n./deep:\n0\n1\n2\n\n./deep/0:\n\n./deep/1:\n\n./deep/2:\n0\n1\n2\n"
    );
    assert_eq!(
        generations(world),
        before,
        "who wrote nothing makes no generation"
    );
    let live = entries(&world.data.join("sandbox/live"));
    for run in live {
        let left = entries(&world.data.join("sandbox/live").join(run));
        assert!(left.len() <= 1 + 8, "{left:?}");
    }
}

async fn a_command_sees_one_generation_to_its_end(world: &World) {
    passes(world, "echo old > file; echo gone > gone").await;
    let vm = world.machine().await;
    let (output, mut chunks) = mpsc::channel::<OutputChunk>(4);
    let request = cached(
        "echo begun; until test -e /workspace/go; do sleep 0.01; done; cat file gone; echo mine > mine",
    );
    let others = async {
        assert!(chunks.recv().await.is_some());
        passes(world, "echo new > file; rm gone; echo theirs > theirs").await;
        assert_eq!(generations(world).len(), 2, "the one in use stays");
        let ran = run(vm.as_ref(), &ExecRequest::shell("touch /workspace/go")).await;
        assert_eq!(ran.code(), 0, "{}", said(&ran));
        let mut said = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            said.extend_from_slice(&chunk.bytes);
        }
        assert_eq!(String::from_utf8_lossy(&said), "old\ngone\n");
    };
    let (outcome, ()) = tokio::join!(vm.exec(&request, output, Cancel::new()), others);
    assert_eq!(outcome.unwrap().status.code(), 0);
    vm.destroy().await.unwrap();
    assert_eq!(generations(world).len(), 1);
    let ran = passes(world, "cat file mine theirs; test -e gone || echo none").await;
    assert_eq!(ran.out(), "new\nmine\ntheirs\nnone\n");
}

async fn what_others_own_and_what_is_hidden_is_kept(world: &World) {
    let make = "mkdir -p a/b c; echo 1 > a/b/1; echo 2 > c/2; ln a/b/1 hard; ln -s a soft; chown -R 33:34 a 2> /dev/null; \
                chmod 000 c/2; chmod 700 c; true";
    passes(world, make).await;
    let owner = passes(world, "stat -c %u a/b/1").await.out();
    // A directory in place of another one, a file in place of a directory, a directory in place of a file.
    passes(world, "rm -r a && mkdir a && echo 3 > a/3; rm -r c && echo file > c; rm hard && mkdir hard && echo 4 > hard/4").await;
    let ran = passes(world, "find . | sort; cat a/3 c hard/4; readlink soft").await;
    assert_eq!(
        ran.out(),
        ".\n./a\n./a/3\n./c\n./hard\n./hard/4\n./soft\n3\nfile\n4\na\n",
        "{owner}"
    );
    passes(world, "rm -rf a c hard soft").await;
    assert_eq!(passes(world, "ls -A").await.out(), "");
    passes(world, "mkdir closed && head -c 3000000 /dev/zero > closed/file && chown -R 33:34 closed 2> /dev/null; chmod 000 closed; true").await;
    let listed = world.backend.cache_directories().await.unwrap();
    assert!(listed[0].bytes >= 3_000_000, "{listed:?}");
    let freed = world.backend.remove_cache_directory("cache").await.unwrap();
    assert!(freed >= 3_000_000, "{freed}");
    world.backend.reclaim().await.unwrap();
    assert_eq!(entries(&world.data.join("sandbox/caches")), Vec::<String>::new());
    assert_eq!(entries(&world.data.join("sandbox/trash")), Vec::<String>::new());
}

async fn one_in_use_cannot_be_removed(world: &World) {
    passes(world, "echo kept > file").await;
    let vm = world.machine().await;
    let (output, mut chunks) = mpsc::channel::<OutputChunk>(4);
    let cancel = Cancel::new();
    let request = cached("echo begun; sleep 86400");
    let others = async {
        assert!(chunks.recv().await.is_some());
        let refused = world.backend.remove_cache_directory("cache").await.unwrap_err();
        assert!(refused.to_string().contains("in use"), "{refused}");
        cancel.kill();
        while chunks.recv().await.is_some() {}
    };
    let (outcome, ()) = tokio::join!(vm.exec(&request, output, cancel.clone()), others);
    assert_eq!(outcome.unwrap().killed, Some(KillReason::Canceled));
    vm.destroy().await.unwrap();
    assert!(world.backend.remove_cache_directory("cache").await.unwrap() > 0);
}

async fn what_a_cache_takes_counts_as_written(world: &World) {
    let mut request = cached("head -c 100000000 /dev/zero > big && sync; sleep 86400");
    request.limits.disk = Some(20_000_000);
    let ran = world.run(&request).await;
    assert_eq!(ran.outcome.killed, Some(KillReason::DiskFull), "{}", said(&ran));
    assert_eq!(passes(world, "ls -A").await.out(), "");
}

async fn places_and_names_that_are_none_are_refused(world: &World) {
    let vm = world.machine().await;
    for (name, path) in [
        ("cache", "/"),
        ("cache", "/workspace"),
        ("cache", "/proc/x"),
        ("cache", "/dev"),
        ("cache", "/run/secrets"),
        ("cache", "relative"),
        ("cache", "~"),
        ("cache", "~/../etc"),
        ("cache", "/a/../etc"),
        ("", "/a"),
        ("../x", "/a"),
        (".hidden", "/a"),
        ("a/b", "/a"),
        ("a\nb", "/a"),
    ] {
        let mut request = ExecRequest::shell("true");
        request.caches = vec![CacheMount {
            name: name.into(),
            path: path.into(),
            keep: hm_vm::CacheKeep::default(),
        }];
        let (output, _chunks) = mpsc::channel::<OutputChunk>(4);
        let refused = vm.exec(&request, output, Cancel::new()).await;
        assert!(refused.is_err(), "{name:?} at {path}");
    }
    // A link of the step's own leads where the step sees it, and no further.
    let ran = run(
        vm.as_ref(),
        &ExecRequest::shell("mkdir /real && ln -s /real /link && ln -s /nowhere /dangling"),
    )
    .await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    let mut request = cached("echo x > /real/inside/file");
    request.cwd = "/workspace".into();
    request.caches[0].path = "/link/inside".into();
    let ran = run(vm.as_ref(), &request).await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    assert_eq!(passes(world, "cat file").await.out(), "x\n");
    request.caches[0].path = "/dangling/inside".into();
    let (output, _chunks) = mpsc::channel::<OutputChunk>(4);
    assert!(vm.exec(&request, output, Cancel::new()).await.is_err());
    vm.destroy().await.unwrap();
}
