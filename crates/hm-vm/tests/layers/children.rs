//! This test binary again, as a child process that does one job until it ends or is killed.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::*;
use hm_vm::sandbox::layers::{FileOp, FileReply, WORKSPACE_PART, perform};
use hm_vm::source::Source;

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
        other => panic!("no such job: {other:?}"),
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
