//! Engines of the tests' own, and an image for them.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hm_docker::{DockerBackend, DockerConfig};
use hm_source::Source;
use hm_vm::testing::contract::Ran;
use hm_vm::testing::footprint::processes_with;
use hm_vm::testing::loopback::Way;
use hm_vm::{Cancel, ExecRequest, ImageReference, OutputChunk, Stream, Vm, VmBackend};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// How long an engine may take to start or to end: only a broken one reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine that runs, on a socket in a directory of its own.
pub struct Engine {
    child: Child,
    pub directory: TempDir,
}

impl Engine {
    /// Docker's, in a network of its own with a bridge that ends with it: nothing of this machine's is changed or reached.
    pub fn docker() -> Self {
        let directory = tempfile::Builder::new().prefix("hm-docker-").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut command = Command::new("unshare");
        let script = "ip link set lo up; exec dockerd \"$@\"";
        command
            .args(["--net", "sh", "-c", script, "dockerd"])
            .args(["--iptables=false", "--ip-masq=false"])
            .arg(format!("--host=unix://{}", at("sock").display()))
            .arg(format!("--data-root={}", at("data").display()))
            .arg(format!("--exec-root={}", at("exec").display()))
            .arg(format!("--pidfile={}", at("pid").display()));
        Self::start(command, directory)
    }

    /// Podman's service.
    pub fn podman() -> Self {
        let directory = tempfile::Builder::new().prefix("hm-podman-").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut command = Command::new("unshare");
        let script = "ip link set lo up; exec podman \"$@\"";
        // Its own limits are higher than those of a container that the tests themselves may run in.
        let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";
        std::fs::write(at("containers.conf"), limits).unwrap();
        command
            .env("CONTAINERS_CONF", at("containers.conf"))
            .args(["--net", "sh", "-c", script, "podman"])
            .arg(format!("--root={}", at("data").display()))
            .arg(format!("--runroot={}", at("exec").display()))
            .arg(format!("--tmpdir={}", at("tmp").display()))
            .args([
                "--cgroup-manager=cgroupfs",
                "--events-backend=none",
                "system",
                "service",
                "--time=0",
            ])
            .arg(format!("unix://{}", at("sock").display()));
        Self::start(command, directory)
    }

    fn start(mut command: Command, directory: TempDir) -> Self {
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = command
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

    /// Lets it reach a server on this machine's loopback.
    pub fn way_to(&self, server: SocketAddr) -> Way {
        Way::open(self.child.id(), server)
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

    /// What `docker` says.
    pub fn says(&self, arguments: &[&str]) -> Vec<String> {
        let out = Command::new("docker")
            .arg("--host")
            .arg(self.host())
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{arguments:?}: {error}");
        let out = String::from_utf8(out.stdout).unwrap();
        out.lines().map(ToOwned::to_owned).collect()
    }

    /// The containers that there are, running or not.
    pub fn running(&self) -> Vec<String> {
        self.says(&["ps", "--all", "--format", "{{.Names}} {{.State}}"])
    }

    /// Everything of ours that there is.
    pub fn left(&self) -> Vec<String> {
        let mut left = self.running();
        left.extend(self.says(&["volume", "ls", "--quiet"]));
        let images = self.says(&["images", "--all", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
        left.extend(images);
        let networks = self.says(&["network", "ls", "--format", "{{.Name}}"]);
        let theirs = ["bridge", "host", "none", "podman"];
        left.extend(
            networks
                .into_iter()
                .filter(|name| !theirs.contains(&name.as_str())),
        );
        left
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
        // Podman leaves the mount of its storage, and a process for each command that was run beside another.
        let directory = self.directory.path();
        for pid in processes_with(&directory.to_string_lossy()) {
            if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for place in places
            .filter(|place| Path::new(place).starts_with(directory))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let _ = rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH);
        }
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

/// A backend with a data directory of its own, and an image.
pub struct World {
    pub backend: Arc<dyn VmBackend>,
    pub image: ImageReference,
    data: PathBuf,
    pub directory: TempDir,
}

impl World {
    pub fn new(engine: &Engine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("hm");
        Self {
            backend: engine.backend(&data),
            image: busybox(directory.path()),
            data,
            directory,
        }
    }

    /// Another process's backend over the same data directory.
    pub fn another(&self, engine: &Engine) -> Self {
        Self {
            backend: engine.backend(&self.data),
            image: self.image.clone(),
            data: self.data.clone(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// A directory of what the backend keeps beside the engine.
    pub fn state(&self, name: &str) -> PathBuf {
        self.data.join("docker").join(name)
    }

    /// Removes the newest backend's file, as if its process were gone.
    pub fn forget_owner(&self) {
        let owners = std::fs::read_dir(self.data.join("docker/owners")).unwrap();
        let newest = owners.map(|owner| owner.unwrap().path()).max().unwrap();
        std::fs::remove_file(newest).unwrap();
    }

    pub async fn machine(&self) -> Box<dyn Vm> {
        self.machine_with(Arc::new(Source::empty())).await
    }

    pub async fn machine_with(&self, source: Arc<Source>) -> Box<dyn Vm> {
        let image = self.backend.resolve(&self.image).await.unwrap();
        let mut vm = self.backend.create(&image).await.unwrap();
        vm.inject(source).await.unwrap();
        vm
    }

    pub async fn sh(&self, vm: &dyn Vm, command: &str) -> Ran {
        self.run(vm, &ExecRequest::shell(command)).await
    }

    pub async fn run(&self, vm: &dyn Vm, request: &ExecRequest) -> Ran {
        let (sender, mut chunks) = mpsc::channel::<OutputChunk>(4);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let read = async {
            while let Some(chunk) = chunks.recv().await {
                match chunk.stream {
                    Stream::Stdout => stdout.extend_from_slice(&chunk.bytes),
                    Stream::Stderr => stderr.extend_from_slice(&chunk.bytes),
                }
            }
        };
        let (outcome, ()) = tokio::join!(vm.exec(request, sender, Cancel::new()), read);
        Ran {
            outcome: outcome.unwrap(),
            stdout,
            stderr,
        }
    }
}

/// Does something while a command runs that has said something, and cancels the command then.
pub async fn during<T>(vm: &dyn Vm, request: &ExecRequest, then: impl Future<Output = T>) -> T {
    let (sender, mut chunks) = mpsc::channel::<OutputChunk>(1);
    let cancel = Cancel::new();
    let other = async {
        let said = chunks.recv().await;
        assert!(
            said.is_some(),
            "it ended before it said anything: {:?}",
            request.argv
        );
        let done = then.await;
        cancel.kill();
        while chunks.recv().await.is_some() {}
        done
    };
    let (outcome, done) = tokio::join!(vm.exec(request, sender, cancel.clone()), other);
    outcome.unwrap();
    done
}
