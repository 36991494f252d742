//! A disk that is full.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{BUILDS, Running, build, job, log, sse, start};

/// A disk of its own, which goes away with it.
struct Disk {
    directory: TempDir,
}

impl Disk {
    fn of(bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        mount(
            "none",
            directory.path(),
            "tmpfs",
            MountFlags::empty(),
            options.as_c_str(),
        )
        .unwrap();
        Self { directory }
    }

    /// Leaves no room.
    fn fill(&self) -> PathBuf {
        let path = self.directory.path().join("filler");
        let mut filler = std::fs::File::create(&path).unwrap();
        for piece in [1 << 16, 1 << 12, 1] {
            let piece = vec![0; piece];
            while std::io::Write::write_all(&mut filler, &piece).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(self.directory.path(), UnmountFlags::DETACH);
    }
}

/// Whether a file system may be mounted here. Where only root may, runs the test as root of a namespace of its own.
fn may_mount(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let again = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&again.stdout);
    let passed = again.status.success() && text.contains("1 passed");
    assert!(passed, "{text}{}", String::from_utf8_lossy(&again.stderr));
    false
}

fn records(text: &str) -> Vec<Value> {
    let heard = sse(text);
    heard
        .iter()
        .map(|(.., data)| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn a_full_disk_is_said_and_takes_nothing_that_was_acknowledged() {
    if !may_mount("full::a_full_disk_is_said_and_takes_nothing_that_was_acknowledged") {
        return;
    }
    let disk = Disk::of(16 << 20);
    let server = Running::start(&disk.directory, |_| {}).await;
    let (owner, agent) = (server.owner().await, server.agent("acme").await);
    owner.pipeline().await;
    let id = owner.build(&build()).await;
    let lease = agent.lease().await;
    let step = job(&lease, "build");
    agent
        .events(&lease, 1, &[start(&step), log(&step, "before")])
        .await
        .expect(200);

    let filler = disk.fill();
    // What fits into the last pages may still be taken, and stays taken.
    let mut next = 3;
    let refused = loop {
        let long = log(&step, &format!("{next} {}", "x".repeat(10_000)));
        let answer = agent.events(&lease, next, &[long]).await;
        if answer.status != 200 {
            break answer;
        }
        next += 1;
        assert!(next < 100, "the disk is not full");
    };
    refused.refused(507, "storage_full");
    let mut body = build();
    body["source_b64"] = json!("AAAA".repeat(100_000));
    owner.post(BUILDS, &body).await.refused(507, "storage_full");
    let mut refused = None;
    for _ in 0..1000 {
        let answer = owner.post(BUILDS, &build()).await;
        if answer.status != 201 {
            refused = Some(answer);
            break;
        }
    }
    refused.expect("the disk is full").refused(507, "storage_full");
    // Whoever asks is still answered.
    let builds = owner.get(BUILDS).await.expect(200)["data"]
        .as_array()
        .unwrap()
        .len();

    std::fs::remove_file(filler).unwrap();
    let answer = agent
        .events(&lease, next, &[log(&step, "after")])
        .await
        .expect(200);
    assert_eq!(answer["next"], next + 1);
    agent.complete(&lease, next, "passed").await.expect(200);
    owner.post(BUILDS, &body).await.expect(201);
    let heard = records(&owner.get(&format!("/hm/v1/builds/{id}/events")).await.text);
    server.stop().await;

    let numbers: Vec<u64> = heard
        .iter()
        .map(|record| record["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=next + 1).collect::<Vec<_>>());
    assert_eq!(heard[1]["event"]["line"], "before");
    assert_eq!(heard[heard.len() - 2]["event"]["line"], "after");
    let sources = Path::new(disk.directory.path()).join("blobs/sources");
    assert_eq!(std::fs::read_dir(sources).unwrap().count(), 1);

    let server = Running::start(&disk.directory, |_| {}).await;
    let owner = server.with(owner.token.unwrap());
    let again = owner.get(BUILDS).await.expect(200)["data"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(again, builds + 1);
    let heard_again = records(&owner.get(&format!("/hm/v1/builds/{id}/events")).await.text);
    assert_eq!(heard_again, heard);
    server.stop().await;
}
