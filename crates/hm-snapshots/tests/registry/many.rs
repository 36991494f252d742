//! Twenty processes at one registry.

use super::backend::{FileBackend, assert_valid, budget, registry};
use super::children;

#[tokio::test]
async fn twenty_processes_record_pin_and_clean_at_once() {
    let data = tempfile::tempdir().expect("directory");
    let mut children: Vec<_> = (0..20)
        .map(|seed| children::start("work", data.path(), seed))
        .collect();
    for child in &mut children {
        assert!(child.wait().expect("child").success());
    }
    let (registry, backend) = (registry(data.path()), FileBackend::new(data.path()));
    assert_valid(&registry, &backend);
    assert!(!registry.list().expect("list").is_empty());
    registry.collect(&backend, &budget(5_000)).await.expect("collect");
    assert!(
        registry.list().expect("list").len() <= 5,
        "the leases went with their processes"
    );
    assert_valid(&registry, &backend);
}

#[test]
fn ten_thousand_pins_take_one_descriptor() {
    let data = tempfile::tempdir().expect("directory");
    let (registry, backend) = (registry(data.path()), FileBackend::new(data.path()));
    let lease = registry.lease().expect("lease");
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("proc").count();
    let before = descriptors();
    for n in 0..10_000 {
        lease.adopt(&backend.take(&format!("s{n}"), 0)).expect("adopt");
    }
    assert!(
        descriptors() <= before + 16,
        "{} descriptors more",
        descriptors() - before
    );
    let pinned = || {
        let records = registry.list().expect("list");
        records.iter().filter(|record| record.pinned).count()
    };
    assert_eq!(pinned(), 10_000);
    drop(lease);
    assert_eq!(pinned(), 0);
}
