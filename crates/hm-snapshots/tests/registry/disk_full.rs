//! A full disk, as root: a file system of 64 KiB in memory.

use std::process::Command;

use super::backend::{FileBackend, assert_valid, registry};

struct Mounted(tempfile::TempDir);

impl Mounted {
    /// Nothing where this process may not mount.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().expect("directory");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=64k,nr_inodes=0", "tmpfs"])
            .arg(dir.path());
        mount
            .output()
            .is_ok_and(|done| done.status.success())
            .then_some(Self(dir))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_an_error_that_leaves_the_registry_as_it_was() {
    let Some(disk) = Mounted::new() else { return };
    let data = disk.0.path();
    let (registry, backend) = (registry(data), FileBackend::new(data));
    let lease = registry.lease().expect("lease");
    let first = backend.take("first", 0);
    lease.adopt(&first).expect("adopt");
    registry.record("0123456789abcdef", &first).expect("record");
    std::fs::write(data.join("filler"), vec![0u8; 64 * 1024]).expect_err("the disk is full");

    let second = backend.take("second", 0);
    let error = registry
        .record("0123456789abcdef", &second)
        .expect_err("the disk is full");
    assert!(error.to_string().contains("snapshots/second"), "{error}");
    registry
        .remember("slot", &serde_json::json!({"a": 1}))
        .expect_err("the disk is full");
    assert_eq!(registry.lookup("0123456789abcdef").expect("lookup"), Some(first));
    assert_eq!(
        std::fs::read_dir(registry.root().join("tmp"))
            .expect("tmp")
            .count(),
        0
    );
    assert_valid(&registry, &backend);

    std::fs::remove_file(data.join("filler")).expect("room again");
    registry.record("0123456789abcdef", &second).expect("record");
    assert_eq!(registry.lookup("0123456789abcdef").expect("lookup"), Some(second));
}
