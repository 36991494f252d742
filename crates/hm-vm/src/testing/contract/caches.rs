//! Cache directories: they outlive machines.

use super::Subject;
use super::subject::{Ran, passes, run};
use crate::{CacheKeep, CacheMount, ExecRequest};

const NAME: &str = "contract-of-hm";
const PLACE: &str = "/var/cache/of-hm";

async fn cached(subject: &Subject, command: &str) -> Ran {
    let vm = subject.machine().await;
    let ran = run(vm.as_ref(), &with_cache(PLACE, command)).await;
    vm.destroy().await.expect("it is destroyed");
    ran
}

fn with_cache(place: &str, command: &str) -> ExecRequest {
    ExecRequest {
        caches: vec![CacheMount {
            name: NAME.into(),
            path: place.into(),
            keep: CacheKeep::default(),
        }],
        ..ExecRequest::shell(command)
    }
}

async fn gives(subject: &Subject, command: &str, expected: &str) {
    let ran = cached(subject, command).await;
    assert_eq!(
        (ran.code(), ran.out().as_str()),
        (0, expected),
        "{command}: {ran:?}"
    );
}

/// What a command that passes wrote, changed and removed is there for those after it, in other machines too.
pub async fn a_cache_directory_is_kept(subject: &Subject) {
    if !subject.backend.features().caches {
        return;
    }
    gives(
        subject,
        "echo one > /var/cache/of-hm/one; echo two > /var/cache/of-hm/two",
        "",
    )
    .await;
    gives(
        subject,
        "cat /var/cache/of-hm/one; cat /var/cache/of-hm/two",
        "one\ntwo\n",
    )
    .await;
    gives(
        subject,
        "rm /var/cache/of-hm/one; echo more >> /var/cache/of-hm/two",
        "",
    )
    .await;
    let look = "cat /var/cache/of-hm/two; test -e /var/cache/of-hm/one || echo gone";
    gives(subject, look, "two\nmore\ngone\n").await;
}

/// What a command that fails wrote, or one that is cancelled, is thrown away.
pub async fn a_failed_command_leaves_a_cache_directory_as_it_was(subject: &Subject) {
    if !subject.backend.features().caches {
        return;
    }
    gives(subject, "echo good > /var/cache/of-hm/file", "").await;
    let failed = cached(subject, "echo bad > /var/cache/of-hm/file; exit 3").await;
    assert_eq!(failed.code(), 3, "{failed:?}");
    let vm = subject.machine().await;
    let endless = with_cache(PLACE, "echo bad > /var/cache/of-hm/file; echo ready; sleep 5000");
    super::subject::meanwhile(vm.as_ref(), &endless, async {}).await;
    vm.destroy().await.expect("it is destroyed");
    gives(subject, "cat /var/cache/of-hm/file", "good\n").await;
}

/// What a command that fails wrote is kept where it says so, and what one that throws all away saw is what was there.
pub async fn a_cache_directory_keeps_what_the_command_says(subject: &Subject) {
    if !subject.backend.features().caches {
        return;
    }
    let kept = async |keep: CacheKeep, command: &str| {
        let mut request = with_cache(PLACE, command);
        request.caches[0].keep = keep;
        let vm = subject.machine().await;
        let ran = run(vm.as_ref(), &request).await;
        vm.destroy().await.expect("it is destroyed");
        (ran.code(), ran.out())
    };
    gives(subject, "echo good > /var/cache/of-hm/file", "").await;
    let failing = "echo added > /var/cache/of-hm/added; exit 3";
    assert_eq!(kept(CacheKeep::Always, failing).await, (3, String::new()));
    let look = "cat /var/cache/of-hm/file; cat /var/cache/of-hm/added";
    gives(subject, look, "good\nadded\n").await;

    let passing = format!("{look}; echo more > /var/cache/of-hm/more");
    let seen = (0, "good\nadded\n".to_owned());
    assert_eq!(kept(CacheKeep::Never, &passing).await, seen);
    // Whoever wants it does not wait for a command that keeps nothing.
    let vm = subject.machine().await;
    let mut endless = with_cache(PLACE, "echo ready; sleep 5000");
    endless.caches[0].keep = CacheKeep::Never;
    super::subject::meanwhile(vm.as_ref(), &endless, async {
        let none = "test -e /var/cache/of-hm/more || echo none";
        gives(subject, none, "none\n").await;
    })
    .await;
    vm.destroy().await.expect("it is destroyed");
    gives(subject, look, "good\nadded\n").await;
}

/// Commands that run at once do not disturb each other, and what each wrote is kept.
pub async fn commands_at_once_share_a_cache_directory(subject: &Subject) {
    if !subject.backend.features().caches {
        return;
    }
    let commands = (0..4).map(|number| async move {
        let command = format!(
            "echo {number} > {PLACE}/mine-{number}; echo {number} > {PLACE}/all; sleep 0.1; cat {PLACE}/all"
        );
        gives(subject, &command, &format!("{number}\n")).await;
    });
    futures::future::join_all(commands).await;
    let all: String = (0..4)
        .map(|number| format!("cat {PLACE}/mine-{number};"))
        .collect();
    gives(subject, &all, "0\n1\n2\n3\n").await;
}

/// A cache directory is in no snapshot, and a machine whose command does not ask for it has none.
pub async fn a_cache_directory_is_in_no_snapshot(subject: &Subject) {
    if !subject.backend.features().caches {
        return;
    }
    let mut vm = subject.machine().await;
    let write = with_cache(PLACE, "echo cached > /var/cache/of-hm/file; echo made > made");
    let ran = run(vm.as_ref(), &write).await;
    assert_eq!(ran.code(), 0, "{ran:?}");
    let look = "cat made; test -e /var/cache/of-hm/file || echo none";
    assert_eq!(passes(vm.as_ref(), look).await, "made\nnone\n");
    let snapshot = vm.snapshot().await.expect("a snapshot");
    vm.destroy().await.expect("it is destroyed");
    let vm = subject.restored(&snapshot).await;
    assert_eq!(passes(vm.as_ref(), look).await, "made\nnone\n");
    let read = run(vm.as_ref(), &with_cache(PLACE, "cat /var/cache/of-hm/file")).await;
    assert_eq!(read.out(), "cached\n");
    vm.destroy().await.expect("it is destroyed");
}

/// A cache directory may lie in the home of the command's user, and in the workspace.
pub async fn a_cache_directory_lies_where_it_is_asked_for(subject: &Subject) {
    if !subject.backend.features().caches {
        return;
    }
    for (place, file) in [
        ("~/.cache/of-hm", "$HOME/.cache/of-hm/file"),
        ("/workspace/node_modules/.cache", "node_modules/.cache/file"),
        ("/data-of-hm/deep/er", "/data-of-hm/deep/er/file"),
    ] {
        let vm = subject.machine().await;
        let ran = run(
            vm.as_ref(),
            &with_cache(place, &format!("echo '{place}' >> {file}; cat {file}")),
        )
        .await;
        assert_eq!(ran.code(), 0, "{place}: {ran:?}");
        assert!(ran.out().ends_with(&format!("{place}\n")), "{place}: {ran:?}");
        vm.destroy().await.expect("it is destroyed");
    }
    let ran = cached(subject, "cat /var/cache/of-hm/file").await;
    assert_eq!(ran.out().lines().count(), 3, "{ran:?}");
}

/// Cache directories are listed with their sizes, and removing one frees what it took up.
pub async fn a_cache_directory_can_be_removed(subject: &Subject) {
    if !subject.backend.features().caches {
        return;
    }
    let backend = &subject.backend;
    gives(subject, "head -c 1000000 /dev/zero > /var/cache/of-hm/large", "").await;
    let listed = backend.cache_directories().await.expect("they are listed");
    let one = listed
        .iter()
        .find(|cache| cache.name == NAME)
        .expect("it is there");
    assert!(one.bytes >= 1_000_000, "{one:?}");
    let freed = backend.remove_cache_directory(NAME).await.expect("it is removed");
    assert!(freed >= 1_000_000, "{freed} bytes");
    let listed = backend.cache_directories().await.expect("they are listed");
    assert!(listed.iter().all(|cache| cache.name != NAME), "{listed:?}");
    let freed = backend
        .remove_cache_directory(NAME)
        .await
        .expect("nothing to remove");
    assert_eq!(freed, 0);
    gives(subject, "test -e /var/cache/of-hm/large || echo none", "none\n").await;
}
