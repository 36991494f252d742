//! Git is the oracle: over random repositories, the source is what git lists.
//!
//! 200 repositories in a usual run; `HM_ORACLE_CASES=2000` takes more of them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hm_source::{EntryKind, SourceOptions};
use proptest::prelude::*;

use crate::support::{Fixture, paths};

/// Few names, so that patterns meet them; some mean something in patterns, one is no text.
const NAMES: &[&[u8]] = &[
    b"a",
    b"b",
    b"A",
    b"Ab",
    b"ab",
    b"c d",
    b"x{y}",
    b"[z]",
    b"{a,b}",
    b"\xc3\xa9",
    b"\xff",
    b".x",
    b"*",
    b"a ",
    b"\\",
    b"!a",
    b"#a",
    b"a.log",
];

const FRAGMENTS: &[&[u8]] = &[
    b"a",
    b"b",
    b"A",
    b"ab",
    b"c d",
    b"x{y}",
    b"\\[z]",
    b"[z]",
    b"{a,b}",
    b"\xc3\xa9",
    b"\xff",
    b".x",
    b"*",
    b"?",
    b"**",
    b"[ab]",
    b"[!a]",
    b"[^a]",
    b"[a-c]",
    b"[[:upper:]]",
    b"[[:alpha:]b]",
    b"[]a]",
    b"\\*",
    b"[",
    b"\\",
    b"\\\\",
    b"a*",
    b"*b",
    b"*.log",
    b"*.{log,x}",
    b"\\!a",
    b"\\#a",
    b"#a",
];

const ENDS: &[&[u8]] = &[b" ", b"\\ ", b"\r", b"  ", b"\t"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Plain,
    Linked,
    Separate,
    Link,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Untracked,
    Tracked,
    IntentToAdd,
    SkipWorktree,
    Deleted,
    /// Tracked as a file, and a directory now.
    Directory,
    /// Tracked as a file, and a link now.
    Link,
}

#[derive(Debug, Clone)]
struct Tree {
    files: Vec<(Vec<usize>, State)>,
    ignores: Vec<(Vec<usize>, Vec<Vec<u8>>)>,
    exclude: Vec<Vec<u8>>,
}

#[derive(Debug, Clone)]
struct Case {
    shape: Shape,
    sha256: bool,
    index: u8,
    folds: bool,
    tree: Tree,
    global: Vec<Vec<u8>>,
    own_excludes: Option<Vec<Vec<u8>>>,
    /// Where another repository lies, what is in it, and whether the outer one tracks it.
    nested: Option<(Vec<usize>, Tree, bool)>,
}

fn path() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..NAMES.len(), 1..4)
}

fn pattern() -> impl Strategy<Value = Vec<u8>> {
    let fragment = || prop::sample::select(FRAGMENTS);
    (
        prop::option::weighted(0.25, Just(b"!".as_slice())),
        prop::option::weighted(0.25, Just(b"/".as_slice())),
        prop::collection::vec((fragment(), any::<bool>()), 1..4),
        prop::option::weighted(0.25, Just(b"/".as_slice())),
        prop::option::weighted(0.15, prop::sample::select(ENDS)),
    )
        .prop_map(|(not, root, middle, directory, end)| {
            let mut text = [not.unwrap_or_default(), root.unwrap_or_default()].concat();
            for (at, (fragment, parts)) in middle.iter().enumerate() {
                if at > 0 && *parts {
                    text.push(b'/');
                }
                text.extend_from_slice(fragment);
            }
            text.extend_from_slice(directory.unwrap_or_default());
            text.extend_from_slice(end.unwrap_or_default());
            text
        })
}

fn patterns() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(pattern(), 0..5)
}

fn tree() -> impl Strategy<Value = Tree> {
    let state = prop_oneof![
        6 => Just(State::Untracked),
        3 => Just(State::Tracked),
        1 => Just(State::IntentToAdd),
        1 => Just(State::SkipWorktree),
        1 => Just(State::Deleted),
        1 => Just(State::Directory),
        1 => Just(State::Link),
    ];
    let directory = prop::collection::vec(0..NAMES.len(), 0..3);
    (
        prop::collection::vec((path(), state), 1..14),
        prop::collection::vec((directory, patterns()), 0..3),
        patterns(),
    )
        .prop_map(|(files, ignores, exclude)| Tree {
            files,
            ignores,
            exclude,
        })
}

fn case() -> impl Strategy<Value = Case> {
    let shape = prop_oneof![
        4 => Just(Shape::Plain),
        1 => Just(Shape::Linked),
        1 => Just(Shape::Separate),
        1 => Just(Shape::Link),
    ];
    (
        shape,
        any::<bool>(),
        0..4u8,
        prop::bool::weighted(0.15),
        tree(),
        patterns(),
        prop::option::weighted(0.2, patterns()),
        prop::option::weighted(0.4, (path(), tree(), any::<bool>())),
    )
        .prop_map(
            |(shape, sha256, index, folds, tree, global, own_excludes, nested)| Case {
                shape,
                sha256,
                index,
                folds,
                tree,
                global,
                own_excludes,
                nested,
            },
        )
}

/// Where git's processes run, and what they may know.
struct World<'a> {
    home: &'a Path,
}

impl World<'_> {
    fn git(&self, directory: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("git")
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    fn index(&self, directory: &Path, arguments: &[&str], paths: &[PathBuf]) {
        if paths.is_empty() {
            return;
        }
        let mut input = Vec::new();
        for path in paths {
            input.extend_from_slice(path.as_os_str().as_bytes());
            input.push(0);
        }
        let arguments = [&["update-index"], arguments, &["-z", "--stdin"]].concat();
        self.git(directory, &arguments, &input);
    }
}

fn joined(path: &[usize]) -> PathBuf {
    path.iter().map(|name| OsStr::from_bytes(NAMES[*name])).collect()
}

fn lines(patterns: &[Vec<u8>]) -> Vec<u8> {
    patterns.join(&b'\n')
}

/// Lays a tree's files, has git track some of them, and then changes what changes.
fn lay(world: &World<'_>, root: &Path, git_dir: &Path, tree: &Tree, submodule: Option<&Path>) {
    let mut states = Vec::new();
    for (path, state) in &tree.files {
        let path = joined(path);
        if submodule.is_some_and(|submodule| path.starts_with(submodule)) {
            continue;
        }
        drop(fs::create_dir_all(root.join(&path).parent().unwrap()));
        // A name that is a directory already is no file.
        if fs::write(root.join(&path), "x").is_ok() && !states.iter().any(|(known, _)| *known == path) {
            states.push((path, *state));
        }
    }
    for (path, patterns) in &tree.ignores {
        let directory = root.join(joined(path));
        if fs::create_dir_all(&directory).is_ok() {
            drop(fs::write(directory.join(".gitignore"), lines(patterns)));
        }
    }
    fs::create_dir_all(git_dir.join("info")).unwrap();
    fs::write(git_dir.join("info/exclude"), lines(&tree.exclude)).unwrap();
    let of = |wanted: &[State]| -> Vec<PathBuf> {
        let found = states.iter().filter(|(_, state)| wanted.contains(state));
        found.map(|(path, _)| path.clone()).collect()
    };
    let tracked = [
        State::Tracked,
        State::SkipWorktree,
        State::Deleted,
        State::Directory,
        State::Link,
    ];
    world.index(root, &["--add"], &of(&tracked));
    world.index(root, &["--skip-worktree"], &of(&[State::SkipWorktree]));
    for path in of(&[State::IntentToAdd]) {
        let mut add = Command::new("git");
        add.args(["--literal-pathspecs", "add", "-f", "-N", "--"])
            .arg(path);
        let status = add.current_dir(root).env("HOME", world.home).status().unwrap();
        assert!(status.success());
    }
    for (path, state) in &states {
        let path = root.join(path);
        match state {
            State::Deleted => fs::remove_file(&path).unwrap(),
            State::Directory => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
                fs::write(path.join("a"), "x").unwrap();
            }
            State::Link => {
                fs::remove_file(&path).unwrap();
                symlink("a", &path).unwrap();
            }
            _ => {}
        }
    }
}

/// What git has in its list, through repositories within the repository.
#[derive(Default)]
struct Listed {
    /// The files and links that are there.
    files: BTreeSet<PathBuf>,
    /// Every name, folded. Where names fold, git lists a file of a directory `a` by the name of a directory `A` that it
    /// knows already, and there may be none such.
    folded: BTreeSet<OsString>,
}

fn fold(path: &Path) -> OsString {
    path.as_os_str().to_ascii_lowercase()
}

fn listed(world: &World<'_>, root: &Path, below: &Path, found: &mut Listed) {
    let directory = root.join(below);
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = world.git(&directory, &list, b"");
    for path in output.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
        let path = Path::new(OsStr::from_bytes(path.strip_suffix(b"/").unwrap_or(path)));
        let is_behind_link = path
            .ancestors()
            .skip(1)
            .any(|above| above != Path::new("") && directory.join(above).is_symlink());
        found.folded.insert(fold(&below.join(path)));
        let Ok(metadata) = directory.join(path).symlink_metadata() else {
            continue;
        };
        if is_behind_link {
            continue;
        }
        if !metadata.is_dir() {
            found.files.insert(below.join(path));
        } else if directory.join(path).join(".git").exists() {
            listed(world, root, &below.join(path), found);
        }
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let mut fixture = Fixture::new();
    let home = fixture.directory.path().join("home");
    fs::create_dir(&home).unwrap();
    let global = home.join("ignored everywhere");
    fs::write(&global, lines(&case.global)).unwrap();
    let settings = format!(
        "[core]\nexcludesFile = \"{}\"\n[user]\nname = a\nemail = a@example.org\n[init]\ndefaultBranch = main\n",
        global.display()
    );
    fs::write(home.join(".gitconfig"), settings).unwrap();
    fixture.store = hm_source::SourceStore::new(fixture.directory.path().join("sources"))
        .with_global_excludes(&global)
        .with_home(&home);
    let world = World { home: &home };
    let format = if case.sha256 {
        "--object-format=sha256"
    } else {
        "--object-format=sha1"
    };
    let elsewhere = fixture.directory.path().join("elsewhere");
    let separate = format!("--separate-git-dir={}", elsewhere.display());
    let mut root = fixture.worktree.clone();
    let mut git_dir = root.join(".git");
    match case.shape {
        Shape::Plain => drop(world.git(&root, &["init", "-q", format], b"")),
        Shape::Separate | Shape::Link => {
            world.git(&root, &["init", "-q", format, &separate], b"");
            git_dir.clone_from(&elsewhere);
            if case.shape == Shape::Link {
                fs::remove_file(root.join(".git")).unwrap();
                symlink(&elsewhere, root.join(".git")).unwrap();
            }
        }
        Shape::Linked => {
            world.git(&root, &["init", "-q", format], b"");
            world.git(&root, &["commit", "-q", "--allow-empty", "-m", "x"], b"");
            let linked = fixture.directory.path().join("linked");
            world.git(&root, &["worktree", "add", "-q", linked.to_str().unwrap()], b"");
            root = linked;
        }
    }
    let mut config = fs::OpenOptions::new()
        .append(true)
        .open(git_dir.join("config"))
        .unwrap();
    if case.folds {
        writeln!(config, "[core]\nignoreCase = true").unwrap();
    }
    if let Some(own) = &case.own_excludes {
        fs::write(home.join("own"), lines(own)).unwrap();
        writeln!(config, "[core]\nexcludesFile = ~/own").unwrap();
    }
    drop(config);
    if let Some((path, tree, tracked)) = &case.nested {
        let path = joined(path);
        let nested = root.join(&path);
        fs::create_dir_all(&nested).unwrap();
        world.git(&nested, &["init", "-q", format], b"");
        lay(&world, &nested, &nested.join(".git"), tree, None);
        if *tracked {
            world.git(&nested, &["commit", "-q", "--allow-empty", "-m", "x"], b"");
            world.index(&root, &["--add"], &[path]);
        }
    }
    let submodule = case.nested.as_ref().filter(|(_, _, tracked)| *tracked);
    let submodule = submodule.map(|(path, ..)| joined(path));
    lay(&world, &root, &git_dir, &case.tree, submodule.as_deref());
    match case.index {
        1 => drop(world.git(&root, &["update-index", "--index-version=4"], b"")),
        2 => drop(world.git(&root, &["update-index", "--split-index"], b"")),
        3 => drop(world.git(&root, &["update-index", "--untracked-cache"], b"")),
        _ => {}
    }
    let mut expected = Listed::default();
    listed(&world, &root, Path::new(""), &mut expected);
    let source = fixture.store.freeze(&root, &SourceOptions::default()).unwrap();
    let found: BTreeSet<PathBuf> = source
        .entries()
        .filter(|(_, entry)| entry.kind != EntryKind::Directory)
        .map(|(path, _)| path.to_path_buf())
        .collect();
    let missing: Vec<_> = expected.files.difference(&found).collect();
    let mut extra: Vec<_> = found.difference(&expected.files).collect();
    if case.folds {
        // This file system tells two names apart that git then takes for one.
        extra.retain(|path| !expected.folded.contains(&fold(path)));
    }
    prop_assert!(
        missing.is_empty() && extra.is_empty(),
        "missing: {missing:?}; too much: {extra:?}"
    );
    Ok(())
}

#[test]
fn source_is_what_git_lists() {
    let cases = std::env::var("HM_ORACLE_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let config = ProptestConfig {
        cases: cases.unwrap_or(200),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner.run(&case(), |case| check(&case)).unwrap();
}

/// With `core.ignoreCase` git lists `a/Ab` as `A/Ab`, where nothing is on this file system: the file is source all the same.
#[test]
fn file_that_git_lists_below_a_folded_directory_is_source() {
    let fixture = Fixture::new();
    fixture.git(&["init", "-q"]);
    fixture.git(&["config", "core.ignoreCase", "true"]);
    fixture.write("A/a", "x");
    fixture.git(&["add", "A/a"]);
    fixture.write("a/Ab", "x");
    fixture.git(&["add", "-f", "-N", "a/Ab"]);
    assert_eq!(paths(&fixture.freeze()), ["A", "A/a", "a", "a/Ab"]);
}

/// With `core.ignoreCase` a file and a submodule may have one name to git: neither hides the other.
#[test]
fn ignored_submodule_whose_name_folds_to_a_files_is_source() {
    let fixture = Fixture::new();
    fixture.git(&["init", "-q"]);
    fixture.git(&["config", "core.ignoreCase", "true"]);
    fixture.write("ab/a", "x");
    fixture.git(&["init", "-q", "ab"]);
    fixture.git(&["-C", "ab", "add", "-f", "a"]);
    let commit = [
        "-C",
        "ab",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "commit",
    ];
    fixture.git(&[&commit[..], &["-q", "-m", "x"]].concat());
    fixture.write("Ab", "x");
    fixture.git(&["-c", "core.ignoreCase=false", "add", "-f", "Ab", "ab"]);
    fixture.write(".gitignore", "**");
    assert_eq!(paths(&fixture.freeze()), ["Ab", "ab", "ab/a"]);
}

/// With `core.ignoreCase` git takes a file for one below a submodule whose name folds to its directory's: it stays one.
#[test]
fn submodule_whose_name_folds_to_a_directorys_stays_one() {
    let fixture = Fixture::new();
    fixture.git(&["init", "-q"]);
    fixture.git(&["config", "core.ignoreCase", "true"]);
    fixture.git(&["init", "-q", "ab"]);
    fixture.write("ab/kept", "x");
    fixture.git(&["-C", "ab", "add", "kept"]);
    let author = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    let commit = [&["-C", "ab"], &author[..], &["commit", "-q", "-m", "x"]].concat();
    fixture.git(&commit);
    fixture.write("ab/.gitignore", "kept\nleft\n");
    fixture.write("ab/left", "x");
    fixture.write("Ab/a", "x");
    fixture.git(&["-c", "core.ignoreCase=false", "add", "-f", "Ab/a", "ab"]);
    assert_eq!(
        paths(&fixture.freeze()),
        ["Ab", "Ab/a", "ab", "ab/.gitignore", "ab/kept"]
    );
}

/// Git takes `**` for the whole component that follows a slash when only a part of a name stands before it.
#[test]
fn stars_after_a_part_of_a_name_match_as_git_has_it() {
    let fixture = Fixture::new();
    fixture.git(&["init", "-q"]);
    fixture.write(".gitignore", "a**/*\n");
    for path in ["a", "ab", "abc/d", "b"] {
        fixture.write(path, "x");
    }
    for ignored in ["a", "ab", "abc/d"] {
        fixture.git(&["check-ignore", "-q", ignored]);
    }
    assert_eq!(paths(&fixture.freeze()), [".gitignore", "b"]);
}
