//! Engines of the tests' own, and an image for them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hm_vm::docker::{DockerBackend, DockerConfig};
use hm_vm::{ImageReference, VmBackend};
use tempfile::TempDir;

/// How long an engine may take to start or to end: only a broken one reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine that runs, on a socket in a directory of its own.
pub struct Engine {
    child: Child,
    pub directory: TempDir,
}

impl Engine {
    /// Docker's. With a network of its own it has a bridge, which ends with that network.
    pub fn docker() -> Self {
        let directory = tempfile::Builder::new().prefix("hm-docker-").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let log = std::fs::File::create(at("log")).unwrap();
        let script = "ip link set lo up; mkdir -p /run/netns; exec dockerd \"$@\"";
        let child = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                script,
                "dockerd",
                "--iptables=false",
                "--ip-masq=false",
            ])
            .arg(format!("--host=unix://{}", at("sock").display()))
            .arg(format!("--data-root={}", at("data").display()))
            .arg(format!("--exec-root={}", at("exec").display()))
            .arg(format!("--pidfile={}", at("pid").display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let engine = Self { child, directory };
        engine.wait_for_socket();
        engine
    }

    fn wait_for_socket(&self) {
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(
                begun.elapsed() < PATIENCE,
                "the engine does not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub fn config(&self, data: &Path) -> DockerConfig {
        let mut config = DockerConfig::new(data);
        config.host = Some(self.host());
        config
    }

    pub fn backend(&self, data: &Path) -> Arc<dyn VmBackend> {
        Arc::new(DockerBackend::new(self.config(data)).unwrap())
    }

    /// Everything that the engine has: containers, volumes, images with a name.
    pub fn holds(&self, what: &[&str]) -> Vec<String> {
        let out = Command::new("docker")
            .arg("--host")
            .arg(self.host())
            .args(what)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{what:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8(out.stdout)
            .unwrap()
            .lines()
            .map(ToOwned::to_owned)
            .collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(15).collect();
            eprintln!(
                "the engine's log ends with:\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A root filesystem of busybox alone, with two users.
pub fn busybox(directory: &Path) -> ImageReference {
    let root = directory.join("busybox");
    if !root.exists() {
        for part in ["bin", "etc", "root", "tmp", "var/cache", "usr", "home/other"] {
            std::fs::create_dir_all(root.join(part)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        let applets = Command::new("/bin/busybox").arg("--list").output().unwrap();
        for applet in String::from_utf8(applets.stdout).unwrap().lines() {
            if applet != "busybox" {
                symlink("busybox", root.join("bin").join(applet)).unwrap();
            }
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nother:x:1500:1600:other:/home/other:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\nother:x:1600:\n").unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    }
    ImageReference::new(root.to_string_lossy())
}
