//! Seven shapes that real repositories have: each passes, and git finds nothing to report inside its steps.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::World;

#[test]
fn rust_tool_with_a_matrix_passes() {
    passes("rust", &[], &["test-shout-release"]);
}

#[test]
fn python_library_with_docs_passes() {
    passes("python", &["python3"], &["docs"]);
}

#[test]
fn javascript_library_passes() {
    passes("javascript", &["node"], &["package"]);
}

#[test]
fn c_library_under_sanitizers_passes() {
    passes("c", &["gcc", "make"], &["address", "undefined", "install"]);
}

#[test]
fn autotools_with_a_submodule_passes() {
    passes("autotools", &["autoreconf", "automake", "make"], &["unchanged"]);
}

#[test]
fn redis_client_with_its_server_passes() {
    passes("redis", &["redis-server", "redis-cli"], &["live"]);
}

#[test]
fn go_library_passes() {
    passes("go", &["go", "gofmt"], &["test"]);
}

/// Runs the pipeline of a repository of this shape and looks for the steps that have to pass.
fn passes(shape: &str, tools: &[&str], steps: &[&str]) {
    let lacking = |tool: &&&str| {
        let places = ["/usr/local/bin", "/usr/bin", "/bin"];
        !places.iter().any(|place| Path::new(place).join(tool).exists())
    };
    if let Some(tool) = tools.iter().find(lacking) {
        hm_vm::testing::skip(&format!("there is no {tool}"));
        return;
    }
    let world = World::new();
    copy(&shapes().join(shape), &world.repo());
    let world = if shape == "rust" {
        world.with_toolchains()
    } else {
        world
    };
    git(&world.repo(), &["init", "--quiet", "--initial-branch=main"]);
    if shape == "autotools" {
        let vendor = world.path().join("width");
        copy(&shapes().join("autotools-vendor"), &vendor);
        git(&vendor, &["init", "--quiet", "--initial-branch=main"]);
        commit(&vendor);
        let from = vendor.display().to_string();
        git(
            &world.repo(),
            &["submodule", "--quiet", "add", &from, "vendor/width"],
        );
    }
    commit(&world.repo());
    let said = world.hm(&["run", "--format", "plain"]).expect(0);
    let text = said.stdout();
    for step in steps.iter().chain(&["clean"]) {
        let about = format!("hm: {step} ");
        let passed = |line: &str| line.starts_with(&about) && line.contains(" passed in ");
        assert!(text.lines().any(passed), "{step}\n{said}");
    }
}

fn shapes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shapes")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(copied.expect("cp").success(), "cannot copy {}", from.display());
}

fn commit(repo: &Path) {
    git(repo, &["add", "--all"]);
    git(repo, &["commit", "--quiet", "--message", "First"]);
}

fn git(repo: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command
        .current_dir(repo)
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
        .args(["-c", "protocol.file.allow=always", "-c", "commit.gpgsign=false"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output().expect("git starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {words}");
}
