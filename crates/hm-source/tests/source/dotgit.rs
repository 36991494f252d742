//! What a step with `.git` finds: git works in it, and takes a clean tree for clean.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hm_source::{Source, SourceOptions};

use crate::support::{Fixture, flattened, paths};

/// A git that knows nothing of this machine's user.
pub fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
        ])
        .current_dir(directory)
        .stdin(Stdio::null());
    command
}

pub fn run(directory: &Path, arguments: &[&str]) -> String {
    let output = git(directory).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// The layers laid over one another by copies, as a step would see them.
fn laid(fixture: &Fixture, source: &Source) -> PathBuf {
    let to = fixture.directory.path().join("laid");
    if to.exists() {
        fs::remove_dir_all(&to).unwrap();
    }
    fs::create_dir(&to).unwrap();
    for layer in source.layers().iter().rev() {
        let from = format!("{}/.", layer.display());
        let status = Command::new("cp").args(["-a", &from]).arg(&to).status().unwrap();
        assert!(status.success());
    }
    to
}

fn frozen(fixture: &Fixture, worktree: &Path) -> Source {
    let options = SourceOptions { include_git: true };
    fixture.store.freeze(worktree, &options).unwrap()
}

/// Freezes a clean worktree, and has git look at the copy: plumbing first, which refreshes nothing.
fn assert_clean(fixture: &Fixture, worktree: &Path) -> PathBuf {
    assert_eq!(
        run(worktree, &["status", "--porcelain"]),
        "",
        "the original is clean"
    );
    let source = frozen(fixture, worktree);
    assert_eq!(source.notes().collect::<Vec<_>>(), [] as [&str; 0]);
    let copy = laid(fixture, &source);
    run(&copy, &["diff-index", "--quiet", "HEAD"]);
    assert_eq!(run(&copy, &["status", "--porcelain"]), "");
    assert_eq!(
        run(&copy, &["rev-parse", "HEAD"]),
        run(worktree, &["rev-parse", "HEAD"])
    );
    run(&copy, &["fsck", "--no-dangling"]);
    let again = frozen(fixture, worktree);
    assert_eq!(again.id(), source.id(), "nothing changed");
    copy
}

fn repository() -> Fixture {
    let fixture = Fixture::new();
    fixture.git(&["init", "-q"]);
    fixture.write(".gitignore", "out\nobjects\nindex\n");
    fixture.write(".hm/ci.py", "");
    fixture.write("a", "1");
    fixture.write("sub/b", "2");
    symlink("a", fixture.worktree.join("link")).unwrap();
    fixture.chmod("a", 0o755);
    fixture.git(&["add", "."]);
    fixture.git(&["commit", "-q", "-m", "one"]);
    fixture.git(&["tag", "v1"]);
    fixture.write("out", "ignored");
    fixture
}

#[test]
fn clean_repository_is_clean_in_the_step() {
    let fixture = repository();
    let copy = assert_clean(&fixture, &fixture.worktree);
    assert_eq!(run(&copy, &["describe", "--tags", "--dirty"]), "v1");
    let source = frozen(&fixture, &fixture.worktree);
    assert!(source.get(Path::new(".git/HEAD")).is_some());
    assert_eq!(flattened(&source.without_git()), flattened(&fixture.freeze()));
    assert_eq!(source.without_git().id(), fixture.freeze().id());
    assert!(paths(&source).iter().any(|path| path == ".git/config"));
    assert!(source.entries().map(|(path, _)| path).is_sorted());
    let reopened = fixture.store.reopen(source.id()).unwrap().unwrap();
    assert_eq!(reopened.layers(), source.layers());
    assert_eq!(reopened.digest(), source.digest());
}

#[test]
fn stale_index_is_refreshed_and_changes_stay_changes() {
    let fixture = repository();
    // Touched, and so stale for plumbing; changed without a change of size or second.
    let time = fs::metadata(fixture.worktree.join("a"))
        .unwrap()
        .modified()
        .unwrap();
    fixture.write("sub/b", "2");
    let source = frozen(&fixture, &fixture.worktree);
    run(&laid(&fixture, &source), &["diff-index", "--quiet", "HEAD"]);
    drop(source);
    fixture.write("a", "9");
    let file = fs::File::options()
        .write(true)
        .open(fixture.worktree.join("a"))
        .unwrap();
    file.set_modified(time).unwrap();
    let source = frozen(&fixture, &fixture.worktree);
    let copy = laid(&fixture, &source);
    assert_eq!(run(&copy, &["diff-index", "--name-only", "HEAD"]), "a");
    assert_eq!(run(&copy, &["status", "--porcelain"]), " M a");
}

#[test]
fn linked_worktree_is_a_repository_in_the_step() {
    let fixture = repository();
    fixture.git(&["pack-refs", "--all"]);
    let linked = fixture.directory.path().join("linked");
    fixture.git(&["worktree", "add", "-q", "-b", "side", linked.to_str().unwrap()]);
    fs::write(linked.join("more"), "3").unwrap();
    run(&linked, &["add", "."]);
    run(&linked, &["commit", "-q", "-m", "two"]);
    let copy = assert_clean(&fixture, &linked);
    assert_eq!(run(&copy, &["branch", "--show-current"]), "side");
    assert_eq!(run(&copy, &["log", "-1", "--format=%s"]), "two");
    assert_eq!(run(&copy, &["describe", "--tags"]).split('-').next(), Some("v1"));
}

#[test]
fn worktree_of_a_bare_repository_is_clean_in_the_step() {
    let fixture = repository();
    let bare = fixture.directory.path().join("bare.git");
    run(
        &fixture.worktree,
        &["clone", "-q", "--bare", ".", bare.to_str().unwrap()],
    );
    let linked = fixture.directory.path().join("linked");
    run(
        &bare,
        &["worktree", "add", "-q", linked.to_str().unwrap(), "main"],
    );
    assert_clean(&fixture, &linked);
}

#[test]
fn separate_git_directory_and_link_come_along() {
    let fixture = repository();
    let elsewhere = fixture.directory.path().join("elsewhere");
    fixture.git(&["init", "-q", "--separate-git-dir", elsewhere.to_str().unwrap()]);
    assert_clean(&fixture, &fixture.worktree);
    fixture.remove(".git");
    symlink(&elsewhere, fixture.worktree.join(".git")).unwrap();
    assert_clean(&fixture, &fixture.worktree);
}

#[test]
fn borrowed_objects_come_along() {
    let fixture = repository();
    let clone = fixture.directory.path().join("clone");
    run(
        &fixture.worktree,
        &["clone", "-q", "--shared", ".", clone.to_str().unwrap()],
    );
    assert_clean(&fixture, &clone);
}

#[test]
fn submodules_come_along_and_can_be_opened_by_themselves() {
    let fixture = repository();
    let inner = fixture.directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    run(&inner, &["init", "-q"]);
    fs::write(inner.join(".gitignore"), "*.h\n").unwrap();
    fs::write(inner.join("config.h"), "tracked").unwrap();
    run(&inner, &["add", "-f", "."]);
    run(&inner, &["commit", "-q", "-m", "inner"]);
    run(
        &fixture.worktree,
        &[
            "submodule",
            "--quiet",
            "add",
            inner.to_str().unwrap(),
            "lib/inner",
        ],
    );
    run(&fixture.worktree, &["commit", "-q", "-m", "submodule"]);
    fixture.write("lib/inner/lost.h", "ignored");
    let copy = assert_clean(&fixture, &fixture.worktree);
    assert!(
        copy.join("lib/inner/config.h").exists(),
        "tracked in spite of being ignored"
    );
    assert!(!copy.join("lib/inner/lost.h").exists());
    run(&copy.join("lib/inner"), &["diff-index", "--quiet", "HEAD"]);
    assert!(!run(&copy, &["submodule", "status"]).starts_with(['-', '+']));
    assert_clean(&fixture, &fixture.worktree.join("lib/inner"));
    // The submodule becomes a plain directory: what `.git` held there hides nothing.
    run(&fixture.worktree, &["rm", "-q", "--cached", "lib/inner"]);
    fixture.remove("lib/inner/.git");
    let copy = laid(&fixture, &frozen(&fixture, &fixture.worktree));
    assert!(copy.join("lib/inner/.gitignore").exists());
}

#[test]
fn split_index_sha256_and_version_four_are_read() {
    for init in [&["init", "-q"][..], &["init", "-q", "--object-format=sha256"]] {
        for index in [
            &["update-index", "--split-index"][..],
            &["update-index", "--index-version=4"],
        ] {
            let fixture = Fixture::new();
            run(&fixture.worktree, init);
            fixture.write(".gitignore", "*.bin\n");
            fixture.write("kept.bin", "1");
            fixture.write("lost.bin", "1");
            run(&fixture.worktree, &["add", "-f", "kept.bin", ".gitignore"]);
            run(&fixture.worktree, &["commit", "-q", "-m", "one"]);
            run(&fixture.worktree, index);
            fixture.write("later.bin", "1");
            run(&fixture.worktree, &["add", "-f", "later.bin"]);
            run(&fixture.worktree, &["commit", "-q", "-m", "two"]);
            assert_eq!(paths(&fixture.freeze()), [".gitignore", "kept.bin", "later.bin"]);
            assert_clean(&fixture, &fixture.worktree);
        }
    }
}

#[test]
fn broken_index_is_an_error_that_names_it() {
    let fixture = repository();
    fixture.write(".git/index", "DIRC nonsense");
    let error = fixture.store.freeze(&fixture.worktree, &SourceOptions::default());
    let words = error.unwrap_err().to_string();
    assert!(
        words.contains(".git/index") && words.contains("git status"),
        "{words}"
    );
}

#[test]
fn digest_holds_refs_and_staging_but_no_packs_and_logs() {
    let fixture = repository();
    let digest = || frozen(&fixture, &fixture.worktree).digest();
    let first = digest();
    fixture.git(&["gc", "-q"]);
    fixture.git(&["reflog", "expire", "--expire=now", "--all"]);
    fixture.write("a", "1");
    fixture.git(&["update-index", "--refresh"]);
    assert_eq!(digest(), first, "packs, logs and the index's times are not in it");
    let mut seen = vec![first];
    for edit in [
        &["tag", "v2"][..],
        &["commit", "-q", "--allow-empty", "-m", "two"],
        &["checkout", "-q", "-b", "other"],
        &["rm", "-q", "--cached", "a"],
    ] {
        fixture.git(edit);
        let digest = digest();
        assert!(!seen.contains(&digest), "{edit:?}");
        seen.push(digest);
    }
    let plain = fixture.freeze().digest();
    fixture.git(&["commit", "-q", "--allow-empty", "-m", "three"]);
    assert_eq!(
        fixture.freeze().digest(),
        plain,
        "without .git, git's own changes are none"
    );
}

#[test]
fn bogus_dot_git_is_taken_as_it_is() {
    let fixture = Fixture::new();
    fixture.write(".git/HEAD", "ref: refs/heads/main\n");
    let source = frozen(&fixture, &fixture.worktree);
    assert_eq!(paths(&source), [".git", ".git/HEAD"]);
    fs::remove_dir_all(fixture.worktree.join(".git")).unwrap();
    fixture.write(".git", "gitdir: /nowhere\n");
    let source = frozen(&fixture, &fixture.worktree);
    assert_eq!(paths(&source), [".git"]);
    assert!(source.notes().any(|note| note.contains("leads to no repository")));
    fixture.remove(".git");
    let source = frozen(&fixture, &fixture.worktree);
    assert!(paths(&source).is_empty());
    assert!(source.notes().any(|note| note.contains("has none")));
}
