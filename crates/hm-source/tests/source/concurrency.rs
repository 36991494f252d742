//! Many at once, and killed at any moment.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hm_source::{SourceError, SourceOptions, SourceStore};

use crate::support::{Fixture, flattened};

const WORKTREE: &str = "HM_TEST_SOURCE_WORKTREE";
const STORE: &str = "HM_TEST_SOURCE_STORE";

/// No test by itself: what the other tests start as a process of its own.
#[test]
fn helper() {
    let (Some(worktree), Some(store)) = (std::env::var_os(WORKTREE), std::env::var_os(STORE)) else {
        return;
    };
    let store = SourceStore::new(store);
    let source = store
        .freeze(Path::new(&worktree), &SourceOptions::default())
        .unwrap();
    println!("digest={}", source.digest());
    println!("brought_in={}", source.brought_in());
}

fn start(fixture: &Fixture) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "concurrency::helper", "--nocapture"])
        .env(WORKTREE, &fixture.worktree)
        .env(STORE, fixture.store.root())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn said(child: Child, what: &str) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let found = text.lines().find_map(|line| line.split_once(what));
    found
        .unwrap_or_else(|| panic!("no {what} in {text:?}"))
        .1
        .to_owned()
}

fn fill(fixture: &Fixture, files: usize) {
    for number in 0..files {
        fixture.write(&format!("d{}/f{number}", number % 20), &number.to_string());
    }
}

#[test]
fn twenty_processes_freeze_one_worktree_and_one_of_them_copies() {
    let fixture = Fixture::new();
    fill(&fixture, 300);
    for round in 0..3 {
        let children: Vec<Child> = (0..20).map(|_| start(&fixture)).collect();
        let digests: Vec<String> = children.into_iter().map(|child| said(child, "digest=")).collect();
        let source = fixture.freeze();
        assert_eq!(source.brought_in(), 0);
        assert!(digests.iter().all(|digest| *digest == source.digest()));
        assert_eq!(flattened(&source), fixture.expected());
        fixture.write("d1/f1", &format!("round {round}"));
        fixture.write(&format!("new{round}"), "x");
    }
    let children: Vec<Child> = (0..20).map(|_| start(&fixture)).collect();
    let copied: u64 = children
        .into_iter()
        .map(|child| said(child, "brought_in=").parse::<u64>().unwrap())
        .sum();
    assert_eq!(copied, 2, "the two files that changed, once");
}

#[test]
fn threads_freeze_while_files_change() {
    let fixture = Fixture::new();
    fill(&fixture, 100);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut round = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                round += 1;
                let path = format!("d{}/f{}", round % 20, round % 100);
                if round % 3 == 0 {
                    drop(fs::remove_file(fixture.worktree.join(path)));
                } else {
                    fixture.write(&path, &format!("round {round}"));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let source = match fixture.store.freeze(&fixture.worktree, &SourceOptions::default())
                        {
                            Ok(source) => source,
                            // It says so rather than give half a tree.
                            Err(SourceError::Changing { .. }) => continue,
                            Err(error) => panic!("{error}"),
                        };
                        let content = flattened(&source);
                        assert_eq!(content.len(), source.entries().count());
                        for (path, entry) in source.entries() {
                            if let hm_source::EntryKind::File { digest, .. } = entry.kind {
                                let bytes = std::io::read_to_string(source.open(path).unwrap()).unwrap();
                                assert_eq!(&digest, blake3::hash(bytes.as_bytes()).as_bytes());
                            }
                        }
                    }
                })
            })
            .collect();
        for reader in readers {
            reader.join().unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
    });
    assert_eq!(flattened(&fixture.freeze()), fixture.expected());
}

#[test]
fn a_killed_freeze_leaves_nothing_wrong_and_nothing_behind() {
    let fixture = Fixture::new();
    fill(&fixture, 400);
    for round in 0..20u64 {
        let mut child = start(&fixture);
        std::thread::sleep(Duration::from_micros(1500 + round * 1400));
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 5 == 4 {
            let source = fixture.freeze();
            assert_eq!(flattened(&source), fixture.expected());
            assert_eq!(source.entries().count(), flattened(&source).len());
        }
        // Alternately a delta and a new base.
        let many = if round % 2 == 0 { 3 } else { 290 };
        for number in 0..many {
            fixture.write(&format!("d{}/f{number}", number % 20), &format!("{round}"));
        }
    }
    let source = fixture.freeze();
    assert_eq!(flattened(&source), fixture.expected());
    fixture.store.reclaim().unwrap();
    for tree in fixture.trees() {
        assert_eq!(fs::read_dir(tree.join("tmp")).unwrap().count(), 0);
        assert!(fs::read_dir(tree.join("frozen")).unwrap().count() <= 20);
    }
    assert_eq!(flattened(&source), fixture.expected());
    drop(source);
    fixture.store.remove_unused().unwrap();
    assert!(fixture.trees().is_empty());
}

#[test]
fn a_source_in_use_survives_the_removal_of_all_others() {
    let fixture = Fixture::new();
    fill(&fixture, 30);
    let first = fixture.freeze();
    fixture.write("d1/f1", "changed");
    let second = fixture.freeze();
    let content = flattened(&second);
    fixture.store.remove_unused().unwrap();
    assert_eq!(flattened(&second), content);
    let third = fixture.freeze();
    assert_eq!(third.brought_in(), 0);
    assert_eq!(flattened(&third), fixture.expected());
    drop((first, second, third));
    fixture.store.remove_unused().unwrap();
    assert_eq!(fixture.freeze().brought_in(), 30);
}
