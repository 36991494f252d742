//! Random edits: whatever happens to a worktree, its layers amount to what lies there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use hm_source::EntryKind;
use proptest::prelude::*;

use crate::support::{Content, Fixture, Node, flattened, listed, stats};

#[derive(Debug, Clone)]
enum Edit {
    Write(usize, usize),
    Mkdir(usize),
    Link(usize, usize),
    Remove(usize),
    Rename(usize, usize),
    Chmod(usize, u32),
    Touch(usize, u32),
    HardLink(usize, usize),
    Freeze,
}

/// Few names, so that edits meet; some sort between a directory and what is in it.
const PATHS: &[&str] = &[
    "a",
    "a/b",
    "a/b/c",
    "a/b/c/d",
    "a-b",
    "a/b-c",
    "a.b/c",
    "a b",
    "b",
    "b/a",
    "b/a/a",
    "b/c",
    "ignored",
    "a/ignored",
    ".hidden",
    ".hidden/x",
    "c",
    "c/c/c/c",
];

fn edit() -> impl Strategy<Value = Edit> {
    let path = 0..PATHS.len();
    prop_oneof![
        6 => (path.clone(), 0..4usize).prop_map(|(path, size)| Edit::Write(path, size)),
        2 => path.clone().prop_map(Edit::Mkdir),
        2 => (path.clone(), path.clone()).prop_map(|(path, to)| Edit::Link(path, to)),
        4 => path.clone().prop_map(Edit::Remove),
        3 => (path.clone(), path.clone()).prop_map(|(from, to)| Edit::Rename(from, to)),
        2 => (path.clone(), prop::sample::select(vec![0o644, 0o755, 0o600, 0o700, 0o555])).prop_map(|(p, m)| Edit::Chmod(p, m)),
        2 => (path.clone(), any::<u32>()).prop_map(|(path, time)| Edit::Touch(path, time)),
        1 => (path.clone(), path).prop_map(|(from, to)| Edit::HardLink(from, to)),
        6 => Just(Edit::Freeze),
    ]
}

/// Whatever the worktree refuses is no edit.
fn apply(root: &Path, edit: &Edit, round: usize) {
    let at = |path: &usize| root.join(PATHS[*path]);
    let parents = |path: &Path| drop(fs::create_dir_all(path.parent().unwrap()));
    match edit {
        Edit::Write(path, size) => {
            let path = at(path);
            parents(&path);
            drop(fs::write(path, format!("{round:04}").repeat(*size)));
        }
        Edit::Mkdir(path) => drop(fs::create_dir_all(at(path))),
        Edit::Link(path, to) => {
            parents(&at(path));
            drop(symlink(PATHS[*to], at(path)));
        }
        Edit::Remove(path) => {
            let path = at(path);
            drop(fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)));
        }
        Edit::Rename(from, to) => {
            parents(&at(to));
            drop(fs::rename(at(from), at(to)));
        }
        Edit::Chmod(path, mode) => {
            // Through a link this could leave the worktree's own rules: only what is there itself.
            if at(path)
                .symlink_metadata()
                .is_ok_and(|metadata| !metadata.is_symlink())
            {
                drop(fs::set_permissions(at(path), fs::Permissions::from_mode(*mode)));
            }
        }
        Edit::Touch(path, time) => {
            if let Ok(file) = fs::File::open(at(path)) {
                let time = std::time::Duration::new(u64::from(*time), *time % 1_000_000_000);
                drop(file.set_modified(std::time::UNIX_EPOCH + time));
            }
        }
        Edit::HardLink(from, to) => {
            parents(&at(to));
            drop(fs::hard_link(at(from), at(to)));
        }
        Edit::Freeze => {}
    }
}

fn expected(fixture: &Fixture) -> Content {
    listed(&fixture.worktree, &|path| path.ends_with("ignored"))
}

/// Compares what `source` says of itself with what lies in its layers, and with the worktree.
fn check(fixture: &Fixture) {
    let before = stats(&fixture.worktree);
    let source = fixture.freeze();
    assert_eq!(stats(&fixture.worktree), before, "the worktree is never written");
    let expected = expected(fixture);
    assert_eq!(flattened(&source), expected);
    let entries: Vec<(PathBuf, hm_source::Entry)> = source
        .entries()
        .map(|(path, entry)| (path.to_owned(), entry))
        .collect();
    assert!(
        entries.iter().map(|(path, _)| path).eq(expected.keys()),
        "sorted as paths sort"
    );
    for (path, entry) in &entries {
        assert_eq!(source.get(path).as_ref(), Some(entry));
        match (&entry.kind, &expected[path]) {
            (EntryKind::File { digest, size }, Node::File { content, mode, .. }) => {
                assert_eq!(digest, blake3::hash(content).as_bytes(), "{path:?}");
                assert_eq!(*size, content.len() as u64);
                assert_eq!(entry.mode, *mode);
            }
            (EntryKind::Symlink { target }, Node::Link { target: there, .. }) => assert_eq!(target, there),
            (EntryKind::Directory, Node::Directory { mode }) => assert_eq!(entry.mode | 0o700, *mode),
            (kind, node) => panic!("{path:?} is {kind:?} here and {node:?} there"),
        }
    }
    let again = fixture.freeze();
    assert_eq!(again.brought_in(), 0, "nothing changed");
    assert_eq!(again.digest(), source.digest());
    // A digest must not depend on the way that led here.
    let other = tempfile::tempdir().unwrap();
    let fresh = hm_source::SourceStore::new(other.path());
    let fresh = fresh
        .freeze(&fixture.worktree, &hm_source::SourceOptions::default())
        .unwrap();
    assert_eq!(fresh.digest(), source.digest());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_amount_to_the_worktree(edits in prop::collection::vec(edit(), 1..40)) {
        let fixture = Fixture::new();
        fixture.write(".gitignore", "ignored\n");
        for (round, edit) in edits.iter().enumerate() {
            apply(&fixture.worktree, edit, round);
            if matches!(edit, Edit::Freeze) {
                check(&fixture);
            }
        }
        check(&fixture);
    }
}

/// Whether this process may mount: root outside a restricted sandbox.
fn may_mount() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(target_os = "linux")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_kernel_agrees(edits in prop::collection::vec(edit(), 10..60)) {
        if !may_mount() {
            return Ok(());
        }
        let fixture = Fixture::new();
        fixture.write(".gitignore", "ignored\n");
        let upper = fixture.directory.path().join("empty");
        let mounted = fixture.directory.path().join("mounted");
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&mounted).unwrap();
        for (round, edit) in edits.iter().enumerate() {
            apply(&fixture.worktree, edit, round);
            if round % 8 != 0 && round + 1 != edits.len() {
                continue;
            }
            let source = fixture.freeze();
            let mut layers = source.layers().to_vec();
            // One layer alone is no overlay for `mount`.
            layers.push(upper.clone());
            let layers: Vec<&str> = layers.iter().map(|layer| layer.to_str().unwrap()).collect();
            let options = format!("ro,userxattr,lowerdir={}", layers.join(":"));
            let mount = Command::new("mount")
                .args(["-t", "overlay", "overlay", "-o", &options])
                .arg(&mounted)
                .status()
                .unwrap();
            prop_assert!(mount.success());
            let found = listed(&mounted, &|_| false);
            let unmount = Command::new("umount").arg(&mounted).status().unwrap();
            prop_assert!(unmount.success());
            prop_assert_eq!(found, expected(&fixture));
        }
    }
}
