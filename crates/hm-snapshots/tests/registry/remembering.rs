//! Keys, snapshots without keys, and the parts of keys.

use super::backend::{FileBackend, registry};
use hm_vm::SnapshotId;

#[test]
fn a_key_stands_for_what_was_recorded_last_until_it_is_forgotten() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend) = (registry(data.path()), FileBackend::new(data.path()));
    let (a, b) = (backend.take("a", 1), backend.take("b", 1));
    for key in ["0123456789abcdef", "a key that is no file name/../..", ""] {
        assert_eq!(registry.lookup(key).expect("lookup"), None);
        registry.record(key, &a).expect("record");
        registry.record(key, &b).expect("record");
        assert_eq!(registry.lookup(key).expect("lookup"), Some(b.clone()), "{key:?}");
        registry.forget(key).expect("forget");
        registry.forget(key).expect("forget");
        assert_eq!(registry.lookup(key).expect("lookup"), None);
    }
    let listed: Vec<_> = registry
        .list()
        .expect("list")
        .into_iter()
        .map(|record| record.id)
        .collect();
    assert_eq!(listed.len(), 2, "both stay, without a key: {listed:?}");
}

#[test]
fn a_path_is_refused_as_an_id() {
    let data = tempfile::tempdir().expect("directory");
    let registry = registry(data.path());
    let error = registry
        .record("k", &SnapshotId("../../x".into()))
        .expect_err("refused");
    assert!(error.to_string().contains("../../x"), "{error}");
}

#[test]
fn opening_and_looking_up_write_nothing() {
    let data = tempfile::tempdir().expect("directory");
    let registry = registry(data.path());
    assert_eq!(registry.lookup("0123456789abcdef").expect("lookup"), None);
    assert_eq!(registry.recall("slot").expect("recall"), None);
    assert!(registry.list().expect("list").is_empty());
}

#[test]
fn key_parts_are_remembered_by_slot() {
    let data = tempfile::tempdir().expect("directory");
    let registry = registry(data.path());
    let parts = serde_json::json!({"command": "make", "image": "host"});
    registry.remember("ci/build\n\u{0}", &parts).expect("remember");
    assert_eq!(registry.recall("ci/build\n\u{0}").expect("recall"), Some(parts));
    assert_eq!(registry.recall("ci/test").expect("recall"), None);
    for slot in std::fs::read_dir(registry.root().join("slots")).expect("slots") {
        std::fs::write(slot.expect("slot").path(), b"{\"comm").expect("damage");
    }
    assert_eq!(registry.recall("ci/build\n\u{0}").expect("recall"), None);
    assert_eq!(
        std::fs::read_dir(registry.root().join("slots"))
            .expect("slots")
            .count(),
        0
    );
}
