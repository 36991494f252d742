//! This test binary again, as a child process that does one job until it ends or is killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::support::*;
use hm_sandbox::layers::{FileOp, FileOps, FileReply, LayerStore, WORKSPACE_PART, perform};
use hm_source::Source;
use hm_vm::SnapshotCheck;

const JOB: &str = "HM_TEST_JOB";
const DATA: &str = "HM_TEST_DATA";

fn command(job: &str, data: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "children::child", "--ignored", "--quiet"]);
    command.env(JOB, job).env(DATA, data).stdout(Stdio::null());
    command
}

pub fn start(job: &str, data: &Path) -> Child {
    command(job, data).spawn().expect("child")
}

pub fn start_as_nobody(job: &str, data: &Path) -> Child {
    let mut command = command(job, data);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534).current_dir("/");
    }
    command.spawn().expect("child")
}

#[test]
#[ignore = "started by other tests, in a process of its own"]
fn child() {
    let (Some(job), Some(data)) = (std::env::var_os(JOB), std::env::var_os(DATA)) else {
        return;
    };
    let data = Path::new(&data);
    match job.to_str() {
        Some("seal-forever") => seal_forever(data),
        Some("remove") => {
            let reply = perform(FileOp::RemoveTree {
                path: data.join("tree").into(),
            })
            .expect("remove");
            assert!(
                matches!(reply, FileReply::Removed { denied: false, .. }),
                "{reply:?}"
            );
        }
        Some("denied") => denied(data),
        other => panic!("no such job: {other:?}"),
    }
}

/// What this process may not see is seen by the one that may.
fn denied(data: &Path) {
    let helper = Arc::new(Helper::default());
    let store = LayerStore::open(&data.join("sandbox"), helper.clone()).expect("store");
    let source = Source::empty();
    let live = store.begin(&parts()).expect("begin");
    let closed = live.upper(WORKSPACE_PART).join("closed");
    write(&closed.join("file"), &"x".repeat(50_000));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("mode");
    helper.closed.lock().expect("lock").push(closed);
    let (id, chain) = store.seal(live, &image(), &source).expect("seal");
    assert_eq!(helper.asked.load(Ordering::Relaxed), 1, "to survey it");
    *helper.closed.lock().expect("lock") = vec![chain.lower_dirs(WORKSPACE_PART)[0].join("closed")];
    assert!(store.usage().expect("usage").bytes > 50_000);
    assert_eq!(helper.asked.load(Ordering::Relaxed), 2, "to measure it");
    assert_eq!(store.check(&id, &source).expect("check"), SnapshotCheck::Usable);
    assert!(store.remove(&id).expect("remove") > 50_000);
    assert_eq!(
        helper.asked.load(Ordering::Relaxed),
        2,
        "its owner may remove it himself"
    );
}

/// Stands in for a process inside the user namespace: it may enter the closed directories.
#[derive(Debug, Default)]
struct Helper {
    closed: Mutex<Vec<PathBuf>>,
    asked: AtomicUsize,
}

impl FileOps for Helper {
    fn run(&self, op: FileOp) -> hm_vm::Result<FileReply> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let closed = self.closed.lock().expect("lock");
        let set = |mode| {
            for path in closed.iter() {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
            }
        };
        // Over a socket and back, names that are not UTF-8 included.
        let sent = postcard::to_stdvec(&op).expect("encode");
        set(0o700);
        let reply = perform(postcard::from_bytes(&sent).expect("decode"));
        set(0o000);
        reply
    }
}

/// Chains of forty steps, one after another: sealed, merged, removed again.
fn seal_forever(data: &Path) {
    let store = open(data);
    let source = Source::empty();
    loop {
        let mut chain = image();
        let mut ids = Vec::new();
        for n in 0..40 {
            let live = store.begin(&parts()).expect("begin");
            write(
                &live.upper(WORKSPACE_PART).join(format!("d{}/f{n}", n % 3)),
                "content",
            );
            let (id, longer) = store.seal(live, &chain, &source).expect("seal");
            chain = longer;
            ids.push(id);
        }
        for id in ids.iter().step_by(2) {
            store.remove(id).expect("remove");
        }
    }
}
