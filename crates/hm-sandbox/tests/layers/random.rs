//! Random steps on an overlay against the same steps in a plain directory, past the depth at which chains are
//! merged.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::support::*;
use hm_sandbox::layers::MAX_DEPTH;

#[derive(Debug, Clone)]
enum Action {
    Write(String),
    Link(String),
    Make(String),
    Remove(String),
    Mode(String, u32),
    Rename(String, String),
}

/// Five names, three levels: they meet often.
fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop::sample::select(vec!["a", "b", "c", "d", "src"]), 1..4)
        .prop_map(|names| names.join("/"))
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => path().prop_map(Action::Write),
        1 => path().prop_map(Action::Link),
        3 => path().prop_map(Action::Make),
        4 => path().prop_map(Action::Remove),
        1 => (path(), prop::sample::select(vec![0o700u32, 0o755, 0o1777])).prop_map(|(path, mode)| Action::Mode(path, mode)),
        2 => (path(), path()).prop_map(|(from, to)| Action::Rename(from, to)),
    ]
}

impl Action {
    /// Does it, or fails: in both directories alike.
    fn perform(&self, root: &Path, content: &str) {
        let at = |path: &String| root.join(path);
        match self {
            Self::Write(path) => drop(fs::write(at(path), content)),
            Self::Link(path) => drop(std::os::unix::fs::symlink("elsewhere", at(path))),
            Self::Make(path) => drop(fs::create_dir_all(at(path))),
            Self::Remove(path) => {
                if fs::remove_dir_all(at(path)).is_err() {
                    let _ = fs::remove_file(at(path));
                }
            }
            Self::Mode(path, mode) => {
                if at(path).is_dir() {
                    let _ = fs::set_permissions(at(path), fs::Permissions::from_mode(*mode));
                }
            }
            // A directory of a lower layer cannot be renamed: mv copies it then.
            Self::Rename(from, to) => {
                if at(from).is_file() && !at(to).exists() {
                    let _ = fs::rename(at(from), at(to));
                }
            }
        }
    }
}

fn lay(root: &Path) {
    for path in ["src/a/b", "a/b/c", "b/a", "c", "src/src"] {
        write(&root.join(path), path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_merged_chain_shows_what_a_plain_directory_holds(
        steps in proptest::collection::vec(proptest::collection::vec(action(), 0..5), MAX_DEPTH..MAX_DEPTH * 2),
    ) {
        if !can_mount() {
            return Ok(());
        }
        let world = World::new();
        lay(&world.worktree(""));
        write(&world.dir.path().join("image/d/of-the-image"), "image");
        let source = world.freeze();
        let plain: PathBuf = world.dir.path().join("plain");
        lay(&plain);
        write(&plain.join("d/of-the-image"), "image");
        let mut chain = image();
        let mut last = None;
        for (n, actions) in steps.iter().enumerate() {
            let perform = |root: &Path| {
                for action in actions {
                    action.perform(root, &n.to_string());
                }
            };
            perform(&plain);
            let (id, longer) = world.step(&chain, &source, perform);
            chain = longer;
            last = Some(id);
            prop_assert!(chain.layers.len() <= MAX_DEPTH);
        }
        prop_assert_eq!(world.tree(&chain, &source), tree(&plain));
        let loaded = open(world.dir.path()).load(&last.expect("a step")).expect("load");
        prop_assert_eq!(world.tree(&loaded, &source), tree(&plain));
    }
}

/// A directory where a kept layer below the merged one has a whiteout merges with nothing, and yet holds one.
#[test]
fn a_whiteout_in_a_directory_that_merges_with_nothing_is_no_file() {
    if !can_mount() {
        return;
    }
    let world = World::new();
    lay(&world.worktree(""));
    let source = world.freeze();
    let plain: PathBuf = world.dir.path().join("plain");
    lay(&plain);
    let mut steps = vec![Action::Remove("c".into())];
    // Deep enough that the removal stays below what is merged.
    steps.extend((0..8).map(|n| Action::Write(format!("below{n}"))));
    steps.push(Action::Make("c/b".into()));
    steps.push(Action::Remove("c/b".into()));
    steps.extend((0..MAX_DEPTH).map(|n| Action::Write(format!("above{n}"))));
    let mut chain = image();
    let mut merged = false;
    for action in &steps {
        action.perform(&plain, "content");
        let (_, longer) = world.step(&chain, &source, |root: &Path| action.perform(root, "content"));
        merged |= longer.layers.len() < chain.layers.len();
        chain = longer;
        assert_eq!(world.tree(&chain, &source), tree(&plain), "{action:?}");
    }
    assert!(merged);
}
