//! A Docker daemon of a test's own: on a socket in a temporary directory and in a network of its own, and gone with them.
//! A daemon without a bridge removes the one that it finds: in this machine's network that would be the one of its own
//! Docker.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use hm_vm::testing::loopback::Way;

/// How long a daemon may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test's daemon gives its containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Their own localhost alone: starts faster, and needs no packet filter.
    Localhost,
    /// A bridge between its containers, and nothing beyond.
    Bridge,
}

/// A running daemon. Dropping it stops it, its containers, and removes all that it stored.
#[derive(Debug)]
pub struct Dockerd {
    directory: TempDir,
    process: Child,
}

impl Dockerd {
    /// Starts a daemon (Debian's package `docker.io`, as root) and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(reach: Reach) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("hm-dockerd-")
            .tempdir()
            .expect("a directory");
        let process = spawn(directory.path(), reach);
        let mut daemon = Self { directory, process };
        daemon.wait_until_it_answers();
        daemon
    }

    /// Where it listens, as `DOCKER_HOST` has it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", socket(self.directory.path()).display())
    }

    /// The file that names its process.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.directory.path().join("pid")
    }

    /// Lets it reach a server on this machine's loopback, such as a registry, for as long as what comes back lives.
    #[must_use]
    pub fn way_to(&self, server: SocketAddr) -> Way {
        Way::open(self.process.id(), server)
    }

    /// Runs Docker's own client against it, and gives its standard output.
    ///
    /// # Panics
    /// When the client fails.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = self.client(arguments).output().expect("docker runs");
        assert!(
            output.status.success(),
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Docker's own client against it.
    #[must_use]
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.directory.path())
            .args(arguments);
        command
    }

    /// Everything it has: containers, images, volumes, and networks other than its own, one a line.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn inventory(&self) -> Vec<String> {
        let lists: [(&str, &[&str]); 4] = [
            ("container", &["ps", "--all", "--quiet", "--no-trunc"]),
            ("image", &["image", "ls", "--all", "--quiet", "--no-trunc"]),
            ("volume", &["volume", "ls", "--quiet"]),
            (
                "network",
                &["network", "ls", "--filter", "type=custom", "--quiet"],
            ),
        ];
        let mut found: Vec<String> = lists
            .iter()
            .flat_map(|(kind, list)| {
                let listed = self.docker(list);
                let named = listed.lines().map(|name| format!("{kind} {name}"));
                named.collect::<Vec<_>>()
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }

    fn wait_until_it_answers(&mut self) {
        let began = Instant::now();
        loop {
            let answer = self.client(&["version"]).output().expect("docker runs");
            if answer.status.success() {
                return;
            }
            let ended = self.process.try_wait().expect("it can be waited for");
            assert!(
                ended.is_none() && began.elapsed() < PATIENCE,
                "dockerd does not answer ({ended:?}): {}",
                std::fs::read_to_string(log(self.directory.path())).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // Containers that still run would keep it from ending for ten seconds each.
        let running = self.client(&["ps", "--quiet"]).output();
        let running = running.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        for container in running.unwrap_or_default().lines() {
            let _ = self.client(&["kill", container]).output();
        }
        if let Some(pid) = i32::try_from(self.process.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < PATIENCE && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("docker.sock")
}

fn log(directory: &Path) -> PathBuf {
    directory.join("log")
}

fn spawn(directory: &Path, reach: Reach) -> Child {
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "sh",
        "-c",
        "ip link set lo up; exec dockerd \"$@\"",
        "dockerd",
    ]);
    let own = |name: &str| directory.join(name);
    command
        .arg("--host")
        .arg(format!("unix://{}", socket(directory).display()))
        .arg("--data-root")
        .arg(own("data"))
        .arg("--exec-root")
        .arg(own("exec"))
        .arg("--pidfile")
        .arg(own("pid"))
        .arg("--config-file")
        .arg(own("daemon.json"))
        .args(["--shutdown-timeout", "2"]);
    std::fs::write(own("daemon.json"), "{}").expect("a file");
    command.args(["--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
    if reach == Reach::Localhost {
        command.args(["--bridge", "none"]);
    }
    let log = std::fs::File::create(log(directory)).expect("a file");
    let errors = log.try_clone().expect("a file");
    command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .expect("dockerd starts: is Debian's package docker.io installed?")
}
