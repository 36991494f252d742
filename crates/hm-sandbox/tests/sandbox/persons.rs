//! Who runs a test: root, an ordinary user with one id, an ordinary user with a range of ids.
//!
//! Run as root, a test becomes the ordinary user by starting itself again; users are made up in a mount
//! namespace, so that nothing is written to this machine's /etc. Run by an ordinary user, it is that user.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use hm_vm::testing::skip;

use super::support::World;

const ALONE: u32 = 64_771;
const RANGED: u32 = 64_772;

/// Set in a test that was started by itself.
const AGAIN: &str = "HM_TEST_AGAIN";

/// Makes three tests of each function, one per person.
macro_rules! everyone {
    ($($name:ident),* $(,)?) => {
        mod as_root {
            $(#[test] fn $name() { crate::persons::as_root(super::$name); })*
        }
        mod as_user {
            $(#[test] fn $name() {
                crate::persons::as_user(concat!(module_path!(), "::", stringify!($name)), super::$name);
            })*
        }
        mod as_user_with_ids {
            $(#[test] fn $name() {
                crate::persons::as_user_with_ids(concat!(module_path!(), "::", stringify!($name)), super::$name);
            })*
        }
    };
}
pub(crate) use everyone;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a test when this is root.
#[track_caller]
pub fn as_root(test: impl AsyncFnOnce(&World)) {
    if is_root() {
        run(test);
    } else {
        skip("this is not root");
    }
}

/// Runs a test as a user who is alone in the step.
pub fn as_user(name: &str, test: impl AsyncFnOnce(&World)) {
    if is_root() {
        again(name, &[], "", Some(ALONE), "");
    } else {
        run(test);
    }
}

/// Runs a test as a user who has other ids to give away.
pub fn as_user_with_ids(name: &str, test: impl AsyncFnOnce(&World)) {
    if !is_root() {
        run(test);
    } else if Path::new("/usr/bin/newuidmap").exists() {
        again(name, &[], "", Some(RANGED), "hmranged:200000000:65536\n");
    } else {
        skip("there is no newuidmap: apt-get install uidmap");
    }
}

/// Runs a test as an ordinary user, who keeps everything temporary in /opt, a directory that steps see.
pub fn in_opt(name: &str, test: impl AsyncFnOnce(&World)) {
    if std::env::var_os(AGAIN).is_some() {
        run_within(Path::new("/opt"), test);
    } else if is_root() {
        let prepare = "mount --bind \"$1/tmp\" /opt";
        again(&format!("sandbox::{name}"), &[], prepare, Some(ALONE), "");
    } else {
        skip("only root can lay something over /opt");
    }
}

/// Runs a test as root with a file system of that size for everything temporary. Its name is without the
/// crate's.
pub fn on_a_small_disk(name: &str, size: &str, test: impl AsyncFnOnce(&World)) {
    if std::env::var_os(AGAIN).is_some() {
        run(test);
    } else {
        let prepare = format!("mount -t tmpfs -o size={size} tmpfs \"$1/tmp\"");
        again(&format!("sandbox::{name}"), &[], &prepare, None, "");
    }
}

/// Runs a test as root in a network of its own, which this script sets up. Its name is without the crate's.
pub fn in_a_network(name: &str, prepare: &str, test: impl AsyncFnOnce(&World)) {
    if std::env::var_os(AGAIN).is_some() {
        run(test);
    } else {
        again(&format!("sandbox::{name}"), &["--net"], prepare, None, "");
    }
}

fn run(test: impl AsyncFnOnce(&World)) {
    run_within(&std::env::temp_dir(), test);
}

fn run_within(parent: &Path, test: impl AsyncFnOnce(&World)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::within(parent);
        test(&world).await;
    });
}

/// Starts this test in a mount namespace of its own, and in these others, as another user with these subordinate ids.
fn again(name: &str, namespaces: &[&str], prepare: &str, user: Option<u32>, ids: &str) {
    let (_, name) = name.split_once("::").unwrap();
    let directory = tempfile::Builder::new().prefix("hm-user-").tempdir().unwrap();
    let path = |file: &str| directory.path().join(file).display().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let passwd = format!("{passwd}hmranged:x:{RANGED}:{RANGED}::/nonexistent:/bin/sh\n");
    std::fs::create_dir_all(path("etc")).unwrap();
    for (file, text) in [
        ("etc/passwd", passwd.as_str()),
        ("etc/subuid", ids),
        ("etc/subgid", ids),
        ("test", ""),
    ] {
        std::fs::write(path(file), text).unwrap();
        std::fs::set_permissions(path(file), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    std::fs::create_dir(path("tmp")).unwrap();
    std::os::unix::fs::chown(path("tmp"), user, user).unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let become_user = user.map_or_else(String::new, |user| {
        format!("setpriv --reuid {user} --regid {user} --clear-groups --inh-caps=-all --")
    });
    let script = format!(
        "set -e; mount -t overlay overlay -o lowerdir=\"$1/etc:/etc\" /etc
        mount --bind \"$2\" \"$1/test\"; {prepare}
        cd \"$1/tmp\"; exec {become_user} \"$1/test\" --exact \"$3\" --nocapture"
    );
    let output = Command::new("unshare")
        .args(namespaces)
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(AGAIN, "1")
        .env("TMPDIR", path("tmp"))
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(
        passed,
        "as user {user:?}: {}\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
