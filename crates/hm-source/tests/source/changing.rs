//! Files that change while they are copied, and modes that do not come along.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Fixture, flattened, settle};

const SIZE: usize = 24 << 20;

/// Freezes while `work` is done to a large file again and again.
fn freeze_while(fixture: &Fixture, work: impl Fn(&mut fs::File) + Sync) -> hm_source::Source {
    fs::write(fixture.worktree.join("log"), vec![b'x'; SIZE]).unwrap();
    settle();
    let stop = AtomicBool::new(false);
    let path = fixture.worktree.join("log");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            while !stop.load(Ordering::Relaxed) {
                work(&mut file);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let source = fixture.freeze();
        stop.store(true, Ordering::Relaxed);
        source
    })
}

fn content(source: &hm_source::Source) -> Vec<u8> {
    let mut bytes = Vec::new();
    source
        .open(Path::new("log"))
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

#[test]
fn file_that_grows_is_taken_as_of_the_first_look() {
    let fixture = Fixture::new();
    let source = freeze_while(&fixture, |file| {
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"line\n").unwrap();
    });
    let bytes = content(&source);
    assert!(bytes.len() >= SIZE);
    assert!(bytes[..SIZE].iter().all(|byte| *byte == b'x'));
    assert!(bytes[SIZE..].chunks(5).all(|line| line == b"line\n"));
    assert_eq!(source.notes().count(), 0);
    drop(source);
    assert_eq!(
        flattened(&fixture.freeze()),
        fixture.expected(),
        "the next one has the rest"
    );
}

#[test]
fn file_that_keeps_changing_is_taken_and_named() {
    let fixture = Fixture::new();
    let round = std::sync::atomic::AtomicU8::new(0);
    let source = freeze_while(&fixture, |file| {
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&[round.fetch_add(1, Ordering::Relaxed)]).unwrap();
    });
    assert_eq!(content(&source).len(), SIZE);
    let notes: Vec<&str> = source.notes().collect();
    // On a file system that shares blocks, the copy is of one moment after all.
    if !notes.is_empty() {
        assert_eq!(
            notes,
            ["written to all the while they were copied, and taken as they were read last: log"]
        );
    }
    drop(source);
    assert_eq!(flattened(&fixture.freeze()), fixture.expected());
}

#[test]
fn set_id_bits_do_not_come_along() {
    let fixture = Fixture::new();
    fixture.write("tool", "x");
    fixture.write("dir/x", "x");
    fixture.chmod("tool", 0o6755);
    fixture.chmod("dir", 0o3777);
    let source = fixture.freeze();
    let layer = &source.layers()[0];
    let mode = |path: &str| fs::metadata(layer.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("tool"), mode("dir")), (0o755, 0o777));
    assert_eq!(source.get(Path::new("tool")).unwrap().mode, 0o755);
    assert_eq!(fixture.freeze().brought_in(), 0);
}

#[test]
fn pointers_of_git_lfs_are_named() {
    let fixture = Fixture::new();
    fixture.write(
        "sub/.gitattributes",
        "*.bin filter=lfs diff=lfs merge=lfs -text\n*.txt text\n",
    );
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n";
    fixture.write("sub/a.bin", pointer);
    fixture.write("sub/deep/b.bin", pointer);
    fixture.write("sub/here.bin", "content");
    fixture.write("sub/x.txt", pointer);
    fixture.write("c.bin", pointer);
    let source = fixture.freeze();
    let notes: Vec<&str> = source.notes().collect();
    let expected = "pointers of Git LFS, whose content is not here (`git lfs pull` fetches it): sub/a.bin, sub/deep/b.bin";
    assert_eq!(notes, [expected]);
}
