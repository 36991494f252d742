//! What is in, what is out, and what is copied.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hm_source::{EntryKind, SourceError, SourceOptions, SourceStore};

use crate::support::{Fixture, flattened, paths, settle, stats};

#[test]
fn an_empty_worktree_is_an_empty_layer() {
    let fixture = Fixture::new();
    let source = fixture.freeze();
    assert_eq!(source.files(), 0);
    assert_eq!(source.layers().len(), 1);
    assert!(flattened(&source).is_empty());
}

#[test]
fn a_first_freeze_brings_in_everything_and_a_second_nothing() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.write("d/e/f", "2");
    symlink("nowhere", fixture.worktree.join("dangling")).unwrap();
    symlink("/etc/passwd", fixture.worktree.join("outside")).unwrap();
    fixture.chmod("a", 0o755);
    let before = stats(&fixture.worktree);
    let first = fixture.freeze();
    assert_eq!(first.brought_in(), 4);
    assert_eq!(first.files(), 4);
    assert_eq!(flattened(&first), fixture.expected());
    let second = fixture.freeze();
    assert_eq!(second.brought_in(), 0);
    assert!(second.changed().is_empty());
    assert_eq!(second.id(), first.id());
    assert_eq!(second.digest(), first.digest());
    assert_eq!(stats(&fixture.worktree), before, "the worktree is never written");
}

#[test]
fn one_changed_file_copies_one_file() {
    let fixture = Fixture::new();
    for number in 0..50 {
        fixture.write(&format!("d{}/f{number}", number % 7), &number.to_string());
    }
    let first = fixture.freeze();
    fixture.write("d3/f3", "changed");
    let second = fixture.freeze();
    assert_eq!(second.brought_in(), 1);
    assert_eq!(second.changed(), [PathBuf::from("d3/f3")]);
    assert_eq!(second.layers().len(), 2);
    assert_eq!(second.layers()[1], first.layers()[0]);
    assert_ne!(second.digest(), first.digest());
    assert_eq!(flattened(&second), fixture.expected());
    // The next one links what the delta has already.
    fixture.write("d4/f4", "changed too");
    let third = fixture.freeze();
    assert_eq!(third.brought_in(), 1);
    assert_eq!(flattened(&third), fixture.expected());
    // What was frozen stays as it was.
    let mut text = String::new();
    second
        .open(Path::new("d4/f4"))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "4");
    text.clear();
    third
        .open(Path::new("d4/f4"))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "changed too");
}

#[test]
fn a_touched_file_is_a_new_time_and_the_same_digest() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    let first = fixture.freeze();
    let file = fs::File::open(fixture.worktree.join("a")).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000, 123_456_789);
    file.set_modified(time).unwrap();
    let second = fixture.freeze();
    assert_eq!(flattened(&second), fixture.expected());
    assert_eq!(second.digest(), first.digest());
    assert!(second.changed().is_empty());
}

#[test]
fn a_change_within_one_tick_and_of_the_same_size_is_seen() {
    let fixture = Fixture::new();
    for round in 0..30 {
        let text = format!("{round:04}");
        fixture.write("a", &text);
        let source = fixture.freeze();
        let mut found = String::new();
        source
            .open(Path::new("a"))
            .unwrap()
            .read_to_string(&mut found)
            .unwrap();
        assert_eq!(found, text);
    }
}

#[test]
fn a_file_put_back_as_it_was_leaves_the_delta() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.write("b", "1");
    settle();
    let first = fixture.freeze();
    fs::rename(fixture.worktree.join("a"), fixture.directory.path().join("aside")).unwrap();
    let second = fixture.freeze();
    assert_eq!(paths(&second), ["b"]);
    fs::rename(fixture.directory.path().join("aside"), fixture.worktree.join("a")).unwrap();
    let third = fixture.freeze();
    assert_eq!(third.brought_in(), 0);
    assert_eq!(flattened(&third), fixture.expected());
    assert_eq!(third.digest(), first.digest());
}

#[test]
fn kinds_change_both_ways() {
    let fixture = Fixture::new();
    fixture.write("x/deep/file", "1");
    fixture.write("y", "2");
    fixture.write("z/one", "3");
    fixture.freeze();
    fs::remove_dir_all(fixture.worktree.join("x")).unwrap();
    fixture.write("x", "now a file");
    fixture.remove("y");
    fixture.write("y/inner", "now a directory");
    fs::remove_dir_all(fixture.worktree.join("z")).unwrap();
    let source = fixture.freeze();
    assert_eq!(flattened(&source), fixture.expected());
    assert_eq!(paths(&source), ["x", "y", "y/inner"]);
    fs::remove_dir_all(fixture.worktree.join("y")).unwrap();
    symlink("x", fixture.worktree.join("y")).unwrap();
    fixture.remove("x");
    fixture.write("x/other", "again");
    fixture.write("z/two", "back");
    let source = fixture.freeze();
    assert_eq!(flattened(&source), fixture.expected());
}

#[test]
fn what_git_ignores_is_out() {
    let fixture = Fixture::new();
    fixture.git(&["init", "-q"]);
    fixture.write(".gitignore", "target/\n*.log\n!keep.log\n/only-root\n");
    fixture.write(".git/info/exclude", "secret\n");
    for path in [
        "target/debug/x",
        "a.log",
        "keep.log",
        "only-root",
        "sub/only-root",
        "secret",
        "sub/b.log",
        ".env",
    ] {
        fixture.write(path, "x");
    }
    fixture.write("sub/.gitignore", "!b.log\nlocal\n");
    fixture.write("sub/local", "x");
    fixture.write(".hm/ci.py", "x");
    let source = fixture.freeze();
    assert_eq!(
        paths(&source),
        [
            ".env",
            ".gitignore",
            ".hm",
            ".hm/ci.py",
            "keep.log",
            "sub",
            "sub/.gitignore",
            "sub/b.log",
            "sub/only-root"
        ]
    );
}

#[test]
fn ignore_files_count_without_git_too() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "out\n");
    fixture.write("out/x", "x");
    fixture.write("in/x", "x");
    let source = fixture.freeze();
    assert_eq!(paths(&source), [".gitignore", "in", "in/x"]);
}

#[test]
fn a_directory_of_a_repository_obeys_the_files_above_it() {
    let fixture = Fixture::new();
    fixture.git(&["init", "-q"]);
    fixture.write(".gitignore", "*.o\n/part/gone\n");
    fixture.write("part/a.o", "x");
    fixture.write("part/gone", "x");
    fixture.write("part/a.c", "x");
    let source = fixture
        .store
        .freeze(&fixture.worktree.join("part"), &SourceOptions::default())
        .unwrap();
    assert_eq!(paths(&source), ["a.c"]);
}

#[test]
fn the_list_agrees_with_git() {
    let fixture = Fixture::new();
    fixture.git(&["init", "-q"]);
    fixture.write(
        ".gitignore",
        "a/**/z\n*.tmp\n!important.tmp\ndir/\n\\#x\n[ab].txt\nfoo/*\n!foo/bar\n",
    );
    fixture.write("sub/.gitignore", "*\n!.gitignore\n!kept\n");
    for path in [
        "a/b/c/z",
        "a/z",
        "a/y",
        "q.tmp",
        "important.tmp",
        "dir/x",
        "sub/dir",
        "#x",
        "a.txt",
        "c.txt",
        "foo/baz",
        "foo/bar/x",
        "sub/kept",
        "sub/lost",
        "sub/deep/kept",
        "é/ü",
    ] {
        fixture.write(path, "x");
    }
    let output = std::process::Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&fixture.worktree)
        .env("HOME", fixture.directory.path())
        .output()
        .unwrap();
    let mut git: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .split_terminator('\0')
        .map(str::to_owned)
        .collect();
    git.sort();
    let source = fixture.freeze();
    let is_file = |kind: &EntryKind| *kind != EntryKind::Directory;
    let mut ours: Vec<String> = source
        .entries()
        .filter(|(_, entry)| is_file(&entry.kind))
        .map(|(path, _)| path.to_str().unwrap().to_owned())
        .collect();
    ours.sort();
    assert_eq!(ours, git);
}

#[test]
fn names_that_are_no_text_are_names() {
    let fixture = Fixture::new();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9 \n x");
    fs::write(fixture.worktree.join(name), "x").unwrap();
    let source = fixture.freeze();
    assert!(source.get(Path::new(name)).is_some());
    assert_eq!(flattened(&source), fixture.expected());
}

#[test]
fn sockets_and_pipes_are_skipped() {
    let fixture = Fixture::new();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.worktree.join("socket")).unwrap();
    let status = std::process::Command::new("mkfifo")
        .arg(fixture.worktree.join("pipe"))
        .status()
        .unwrap();
    assert!(status.success());
    fixture.write("a", "1");
    let source = fixture.freeze();
    assert_eq!(paths(&source), ["a"]);
    let notes: Vec<&str> = source.notes().collect();
    assert_eq!(
        notes,
        ["the source is without what is no file: pipe (a pipe), socket (a socket)"]
    );
}

#[test]
fn directories_that_may_not_be_written_can_be_removed() {
    let fixture = Fixture::new();
    fixture.write("locked/a", "1");
    fixture.chmod("locked", 0o555);
    let source = fixture.freeze();
    assert_eq!(source.get(Path::new("locked")).unwrap().mode, 0o555);
    assert!(fixture.store.usage() > 0);
    drop(source);
    assert!(fixture.store.remove_unused().unwrap() > 0);
    assert!(fixture.trees().is_empty());
    fixture.chmod("locked", 0o755);
}

#[test]
fn a_store_inside_the_worktree_is_left_out() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.write("data/other/b", "1");
    let store = SourceStore::new(fixture.worktree.join("data/sources"));
    let first = store
        .freeze(&fixture.worktree, &SourceOptions::default())
        .unwrap();
    let again = store
        .freeze(&fixture.worktree, &SourceOptions::default())
        .unwrap();
    assert_eq!(paths(&again), ["a", "data", "data/other", "data/other/b"]);
    drop(first);
    let store = store.hiding(fixture.worktree.join("data"));
    let hidden = store
        .freeze(&fixture.worktree, &SourceOptions::default())
        .unwrap();
    assert_eq!(paths(&hidden), ["a"]);
}

#[test]
fn what_is_no_directory_is_an_error_that_names_it() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    let error = fixture
        .store
        .freeze(&fixture.worktree.join("a"), &SourceOptions::default())
        .unwrap_err();
    assert!(matches!(&error, SourceError::NotADirectory { path } if path.ends_with("a")));
    let error = fixture
        .store
        .freeze(&fixture.worktree.join("b"), &SourceOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("/b"), "{error}");
}

#[test]
fn subtrees_have_digests_of_their_own() {
    let fixture = Fixture::new();
    fixture.write("a/x/f", "1");
    fixture.write("b/x/f", "1");
    fixture.write("a-b/f", "1");
    let first = fixture.freeze();
    let digest = |path: &str| first.subtree_digest(Path::new(path));
    assert_eq!(digest("a"), digest("b"), "where it lies is not in it");
    assert_eq!(digest("a/x"), digest("a-b"));
    assert_ne!(digest("a"), digest("a/x"));
    assert_eq!(digest("a/x/f"), None);
    assert_eq!(digest("missing"), None);
    fixture.chmod("b/x/f", 0o755);
    let second = fixture.freeze();
    assert_ne!(second.subtree_digest(Path::new("b")), digest("b"));
    assert_eq!(second.subtree_digest(Path::new("a")), digest("a"));
    assert_eq!(second.changed(), [PathBuf::from("b/x/f")]);
}

#[test]
fn a_past_source_can_be_opened_again() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    let first = fixture.freeze();
    fixture.write("a", "22");
    fixture.write("b", "1");
    let second = fixture.freeze();
    let again = fixture.store.reopen(first.id()).unwrap().unwrap();
    assert_eq!(again.digest(), first.digest());
    assert_eq!(flattened(&again), flattened(&first));
    let again = fixture.store.reopen(second.id()).unwrap().unwrap();
    assert_eq!(flattened(&again), flattened(&second));
    for unknown in ["", "x", "../../x.y", "abc.0190b5e0-0000-7000-8000-000000000000"] {
        assert!(fixture.store.reopen(unknown).unwrap().is_none());
    }
}

#[test]
fn old_sources_are_removed_but_never_one_in_use() {
    let fixture = Fixture::new();
    fixture.write("a", "0");
    let first = fixture.freeze();
    fixture.write("a", "first delta");
    let used = fixture.freeze();
    let content = flattened(&used);
    let mut ids = Vec::new();
    for round in 0..30 {
        fixture.write("a", &"x".repeat(round));
        ids.push(fixture.freeze().id().to_owned());
    }
    fixture.store.reclaim().unwrap();
    assert_eq!(flattened(&used), content, "its layers are still there");
    assert!(fixture.store.reopen(&ids[0]).unwrap().is_none());
    assert!(fixture.store.reopen(&ids[29]).unwrap().is_some());
    let deltas = || {
        let deltas = fixture.trees().remove(0).join("deltas");
        fs::read_dir(deltas).unwrap().count()
    };
    assert_eq!(deltas(), 21, "twenty, and the one in use");
    drop((first, used));
    fixture.store.reclaim().unwrap();
    assert_eq!(deltas(), 20);
}

#[test]
fn a_large_delta_becomes_a_base_by_links() {
    let fixture = Fixture::new();
    for number in 0..1000 {
        fixture.write(&format!("d{}/f{number}", number % 10), &number.to_string());
    }
    let first = fixture.freeze();
    assert_eq!(first.brought_in(), 1000);
    for number in 0..300 {
        fixture.write(&format!("d{}/f{number}", number % 10), "changed");
    }
    let second = fixture.freeze();
    assert_eq!(second.brought_in(), 300);
    assert_eq!(second.layers().len(), 1, "a base alone");
    assert_ne!(second.layers(), first.layers());
    assert_eq!(flattened(&second), fixture.expected());
    assert_eq!(second.changed().len(), 300);
    fixture.write("d0/f0", "again");
    let third = fixture.freeze();
    assert_eq!(third.brought_in(), 1);
    assert_eq!(flattened(&third), fixture.expected());
}

#[test]
fn a_damaged_index_is_rebuilt() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    fixture.write("b/c", "2");
    drop(fixture.freeze());
    let tree = fixture.trees().remove(0);
    let file = |directory: &str| {
        fs::read_dir(tree.join(directory))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path()
    };
    let damage = |path: &Path, cut: bool| {
        let mut bytes = fs::read(path).unwrap();
        if cut {
            bytes.truncate(bytes.len() / 2);
        } else {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        }
        fs::write(path, bytes).unwrap();
    };
    for cut in [true, false] {
        damage(&file("bases").join("manifest"), cut);
        let source = fixture.freeze();
        assert_eq!(source.brought_in(), 2);
        assert_eq!(flattened(&source), fixture.expected());
        drop(source);
        let current = fs::read_to_string(tree.join("current")).unwrap();
        damage(&tree.join("frozen").join(current), cut);
        let source = fixture.freeze();
        assert_eq!(source.brought_in(), 2);
        assert_eq!(flattened(&source), fixture.expected());
        drop(source);
        fixture.store.remove_unused().unwrap();
        drop(fixture.freeze());
    }
    fs::write(tree.join("current"), "nonsense").unwrap();
    assert_eq!(flattened(&fixture.freeze()), fixture.expected());
}

#[test]
fn the_sources_of_a_worktree_that_is_gone_are_reclaimed() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    drop(fixture.freeze());
    fs::remove_dir_all(&fixture.worktree).unwrap();
    fixture.store.reclaim().unwrap();
    assert!(fixture.trees().is_empty());
}

#[test]
fn what_is_tracked_in_spite_of_being_ignored_is_in() {
    let fixture = Fixture::new();
    fixture.git(&["init", "-q"]);
    fixture.write(".gitignore", "*.bin\nvendor/\n");
    for path in [
        "a.bin",
        "forced.bin",
        "vendor/lost",
        "vendor/deep/forced",
        "vendor/deep/lost",
        "vendor2/x",
    ] {
        fixture.write(path, "x");
    }
    fixture.git(&["add", "-f", "forced.bin", "vendor/deep/forced", ".gitignore"]);
    fixture.git(&["add", "-N", "vendor2/x"]);
    let source = fixture.freeze();
    let expected = [
        ".gitignore",
        "forced.bin",
        "vendor",
        "vendor/deep",
        "vendor/deep/forced",
        "vendor2",
        "vendor2/x",
    ];
    assert_eq!(paths(&source), expected);
    fixture.remove("forced.bin");
    assert_eq!(paths(&fixture.freeze()).len(), expected.len() - 1);
}

/// Root may read everything: there, an ordinary user runs this test, and one that makes whiteouts.
#[test]
fn what_cannot_be_read_is_named() {
    if rustix::process::geteuid().is_root() {
        return unreadable_as_nobody();
    }
    let fixture = Fixture::new();
    fixture.write("deep/secret", "1");
    fixture.chmod("deep/secret", 0);
    let error = fixture
        .store
        .freeze(&fixture.worktree, &SourceOptions::default())
        .unwrap_err();
    assert!(
        matches!(&error, SourceError::Unreadable { path, .. } if path.ends_with("deep/secret")),
        "{error}"
    );
    fixture.chmod("deep/secret", 0o600);
    fixture.chmod("deep", 0);
    let error = fixture
        .store
        .freeze(&fixture.worktree, &SourceOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("deep of the worktree"), "{error}");
    fixture.chmod("deep", 0o755);
    assert_eq!(fixture.freeze().files(), 1);
}

/// The same test, as an ordinary user: a thread of ours cannot change back, a process can end.
fn unreadable_as_nobody() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = place.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    for test in [
        "basics::what_cannot_be_read_is_named",
        "basics::kinds_change_both_ways",
    ] {
        let output = std::process::Command::new(&binary)
            .args(["--exact", test])
            .env("TMPDIR", place.path())
            .current_dir(place.path())
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}

#[test]
fn a_sparse_file_stays_sparse_and_whole() {
    let fixture = Fixture::new();
    let path = fixture.worktree.join("disk");
    let mut file = fs::File::create(&path).unwrap();
    file.set_len(64 << 20).unwrap();
    file.seek(SeekFrom::Start(20 << 20)).unwrap();
    file.write_all(b"in the middle").unwrap();
    settle();
    let source = fixture.freeze();
    assert_eq!(flattened(&source), fixture.expected());
    let frozen = source.open(Path::new("disk")).unwrap().metadata().unwrap();
    assert_eq!(frozen.len(), 64 << 20);
    assert!(frozen.blocks() * 512 < 1 << 20, "{} blocks", frozen.blocks());
}

#[test]
fn a_store_that_takes_ignored_files_leaves_nothing_out() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "*.log\nout/\n");
    fixture.write("kept.log", "1");
    fixture.write("out/deep/file", "2");
    assert_eq!(paths(&fixture.freeze()), [".gitignore"]);
    let all = SourceStore::new(fixture.worktree.with_extension("all")).taking_ignored();
    let source = all.freeze(&fixture.worktree, &SourceOptions::default()).unwrap();
    assert_eq!(
        paths(&source),
        [".gitignore", "kept.log", "out", "out/deep", "out/deep/file"]
    );
}
