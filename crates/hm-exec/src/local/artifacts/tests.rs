use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use hm_vm::SnapshotId;
use uuid::Uuid;

use super::junit;
use super::store::two_below;
use super::{Artifact, ArtifactStore, Keep};

fn store() -> (tempfile::TempDir, ArtifactStore) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = ArtifactStore::new(dir.path());
    (dir, store)
}

/// Takes a content over as an artifact of this path.
fn taken(store: &ArtifactStore, path: &str, content: &str) -> Artifact {
    let copy = store.temporary().expect("a directory").join("copy");
    fs::write(&copy, content).expect("a copy");
    Artifact {
        step: "test".into(),
        path: path.into(),
        bytes: content.len() as u64,
        digest: store.take(&copy).expect("taken"),
        executable: false,
        tests: None,
    }
}

fn contents(store: &ArtifactStore) -> usize {
    two_below(&store.root().join("files")).count()
}

#[test]
fn a_content_is_kept_once_and_as_long_as_somebody_names_it() {
    let (_dir, store) = store();
    let (kept, gone) = (Uuid::new_v4(), Uuid::new_v4());
    let one = taken(&store, "one", "same");
    let two = taken(&store, "two", "same");
    let three = taken(&store, "three", "other");
    assert_eq!((contents(&store), store.usage()), (2, 9));
    store.list(kept, std::slice::from_ref(&one)).expect("listed");
    store.list(kept, std::slice::from_ref(&two)).expect("listed");
    store.list(gone, &[three]).expect("listed");
    let keep = || {
        Ok(Keep {
            runs: BTreeSet::from([kept]),
            ..Keep::default()
        })
    };
    let swept = store.sweep(keep).expect("swept");
    assert_eq!((swept.removed, swept.freed, swept.busy), (1, 5, false));
    assert_eq!(store.of_run(kept).expect("listed"), [one.clone(), two]);
    assert!(store.of_run(gone).expect("none").is_empty());
    assert!(store.copy(&one, &mut std::io::sink()).is_ok());
    assert_eq!(two_below(&store.root().join("tmp")).count(), 0);
    assert_eq!(store.sweep(|| Ok(Keep::default())).expect("swept").removed, 1);
}

#[test]
fn a_snapshot_keeps_what_its_step_left_until_it_is_long_gone() {
    let (_dir, store) = store();
    let snapshot = SnapshotId("sha256:1".into());
    let made = [taken(&store, "one", "content")];
    store.remember("memory", &snapshot, &made).expect("remembered");
    let known = |ids: &[&SnapshotId]| Keep {
        snapshots: BTreeMap::from([("memory".into(), ids.iter().copied().cloned().collect())]),
        ..Keep::default()
    };
    // Not registered yet.
    assert_eq!(store.sweep(|| Ok(known(&[]))).expect("swept").removed, 0);
    let list = store.root().join("snapshots/memory/sha256:1.json");
    let old = std::time::SystemTime::UNIX_EPOCH;
    fs::File::open(&list)
        .expect("the list")
        .set_modified(old)
        .expect("older");
    assert_eq!(store.sweep(|| Ok(known(&[&snapshot]))).expect("swept").removed, 0);
    assert_eq!(store.sweep(|| Ok(Keep::default())).expect("swept").removed, 0);
    assert_eq!(store.recall("memory", &snapshot).as_deref(), Ok(&made[..]));
    assert_eq!(store.sweep(|| Ok(known(&[]))).expect("swept").removed, 1);
    assert_eq!(
        store.recall("memory", &snapshot),
        Err("its artifacts are gone".into())
    );
}

#[test]
fn a_content_that_is_gone_or_changed_is_not_listed_again() {
    let (_dir, store) = store();
    let snapshot = SnapshotId("s".into());
    let made = taken(&store, "report/a.txt", "content");
    store
        .remember("memory", &snapshot, std::slice::from_ref(&made))
        .expect("remembered");
    fs::write(store.file(&made.digest).expect("a digest"), "cut").expect("written");
    let why = store.recall("memory", &snapshot).expect_err("not as it was");
    assert_eq!(why, "its artifact report/a.txt is gone");
}

#[test]
fn nothing_is_swept_while_something_is_added() {
    let (_dir, store) = store();
    let made = taken(&store, "one", "content");
    let adding = store.adding().expect("adding");
    assert!(store.sweep(|| Ok(Keep::default())).expect("swept").busy);
    drop(adding);
    assert_eq!(store.sweep(|| Ok(Keep::default())).expect("swept").removed, 1);
    assert!(store.copy(&made, &mut std::io::sink()).is_err());
}

#[test]
fn a_list_that_a_kill_cut_short_is_read_as_far_as_it_goes() {
    let (_dir, store) = store();
    let run = Uuid::new_v4();
    let made = taken(&store, "one", "content");
    store.list(run, std::slice::from_ref(&made)).expect("listed");
    let path = store.run(run);
    let mut text = fs::read_to_string(&path).expect("a list");
    text.push_str(r#"{"step":"test","path":"tw"#);
    fs::write(&path, text).expect("written");
    assert_eq!(store.of_run(run).expect("listed"), [made]);
}

fn summary(text: &str) -> Option<hm_plugin_protocol::events::TestSummary> {
    junit::summary(text.as_bytes(), |name| name.replace("hunter2", "***"))
}

#[test]
fn a_report_is_summed_up() {
    let text = r#"<?xml version="1.0"?><!-- made by hand -->
        <testsuites><testsuite name="a">
          <properties><property name="failure"/></properties>
          <testcase classname="m.A" name="one"/>
          <testcase classname="m.A" name="two &lt;2&gt;"><failure message="x">y</failure><error/></testcase>
          <testcase name="three"><skipped/></testcase>
          <testsuite><testcase name="hunter2
             four"><system-out><failure/></system-out><error/></testcase></testsuite>
          <testcase name="five"><flakyFailure/><system-out>text</system-out></testcase>
        </testsuite></testsuites>"#;
    let sum = summary(text).expect("a report");
    assert_eq!((sum.total, sum.failed, sum.skipped), (5, 2, 1));
    assert_eq!(sum.failures, ["m.A::two <2>", "*** four"]);
}

#[test]
fn what_is_no_report_is_none() {
    for text in [
        "",
        "no XML",
        "<coverage><testsuite/></coverage>",
        "<testsuites><testsuite>",
        "<testsuites></testsuite>",
        "<a/><testsuite/>",
    ] {
        assert_eq!(summary(text), None, "{text}");
    }
    assert_eq!(summary("<testsuite/>").map(|sum| sum.total), Some(0));
}

#[test]
fn a_hostile_report_costs_no_more_than_its_size() {
    let bomb = r#"<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
        <testsuite><testcase name="&b;"><failure/></testcase></testsuite>"#;
    assert_eq!(summary(bomb).expect("a report").failures, ["&b;"]);
    let deep = format!(
        "<testsuite>{}{}</testsuite>",
        "<a>".repeat(200_000),
        "</a>".repeat(200_000)
    );
    assert_eq!(summary(&deep).map(|sum| sum.total), Some(0));
    let many = format!(
        "<testsuite>{}</testsuite>",
        format!("<testcase name='{}'><error/></testcase>", "é".repeat(2000)).repeat(1000)
    );
    let sum = summary(&many).expect("a report");
    assert_eq!((sum.failed, sum.failures.len()), (1000, 100));
    assert!(sum.failures.iter().all(|name| name.chars().count() == 300));
}

/// How often this thread has asked the kernel to read and to write so far.
#[cfg(target_os = "linux")]
fn asked() -> (u64, u64) {
    let text = fs::read_to_string("/proc/thread-self/io").expect("the kernel counts");
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value
            .and_then(|value| value.trim().parse().ok())
            .expect("a number")
    };
    (field("syscr:"), field("syscw:"))
}

#[test]
#[cfg(target_os = "linux")]
fn three_thousand_small_artifacts_take_a_few_calls_each_and_are_listed_by_one() {
    const FILES: u64 = 3001;
    let (dir, store) = store();
    let copies: Vec<_> = (0..FILES).map(|n| dir.path().join(format!("{n}.txt"))).collect();
    for copy in &copies {
        fs::write(copy, copy.display().to_string()).expect("a copy");
    }
    let before = asked();
    let taken = copies.iter().map(|copy| store.take(copy).expect("taken"));
    let made: Vec<_> = taken
        .map(|digest| Artifact {
            step: "test".into(),
            path: format!("out/{digest}"),
            bytes: 1,
            digest,
            executable: false,
            tests: None,
        })
        .collect();
    let took = asked();
    // The content, and its end.
    assert!(took.0 - before.0 <= 2 * FILES + 100, "{before:?} {took:?}");
    assert!(took.1 - before.1 <= 100, "{before:?} {took:?}");
    let run = Uuid::new_v4();
    store.list(run, &made).expect("listed");
    store
        .remember("memory", &SnapshotId("s".into()), &made)
        .expect("remembered");
    let listed = asked();
    assert!(listed.1 - took.1 <= 10, "{took:?} {listed:?}");
    assert_eq!(store.of_run(run).expect("listed").len() as u64, FILES);
}
