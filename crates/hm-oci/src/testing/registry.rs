//! A registry on this machine's loopback: Debian's `docker-registry`.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Who may use a registry that [`Registry::start_with_login`] started.
pub const USER: &str = "hm-test-user";
/// That user's password.
pub const PASSWORD: &str = "hm-test-password";
const HASH: &str = "$2y$04$abcdefghijklmnopqrstuuWu0OP.YsEFL5K4dGJqGXXlTohSQjJwG";

/// A registry that runs until this is dropped. It can be stopped and started again on the same port.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    directory: TempDir,
    process: Option<Child>,
    login: bool,
}

impl Registry {
    /// Starts one that anybody may use.
    #[must_use]
    pub fn start() -> Self {
        Self::new(false)
    }

    /// Starts one that only [`USER`] may use.
    #[must_use]
    pub fn start_with_login() -> Self {
        Self::new(true)
    }

    fn new(login: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a port");
        drop(listener);
        let directory = tempfile::Builder::new()
            .prefix("hm-registry-")
            .tempdir()
            .expect("a temporary directory");
        let mut registry = Self {
            address,
            directory,
            process: None,
            login,
        };
        registry.write_config();
        registry.restart();
        registry
    }

    fn write_config(&self) {
        let path = |name: &str| self.directory.path().join(name);
        let mut config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
             delete: {{enabled: true}}\nhttp: {{addr: \"{}\"}}\n",
            path("data").display(),
            self.address
        );
        if self.login {
            std::fs::write(path("htpasswd"), format!("{USER}:{HASH}\n")).expect("it can be written");
            config += &format!(
                "auth:\n  htpasswd: {{realm: hm, path: {}}}\n",
                path("htpasswd").display()
            );
        }
        std::fs::write(path("config.yml"), config).expect("it can be written");
    }

    /// Starts it again on the same port, with what was pushed to it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.kill();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("log"))
            .expect("it can be written");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(self.directory.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("this test needs docker-registry: apt-get install -y docker-registry");
        self.process = Some(process);
        for _ in 0..1200 {
            if TcpStream::connect(self.address).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "docker-registry does not come up: {}",
            std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
        );
    }

    /// Kills it at once, whatever it does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The whole reference of a name in it.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Who may use it, when not everybody may.
    #[must_use]
    pub fn credentials(&self) -> Option<(&'static str, &'static str)> {
        self.login.then_some((USER, PASSWORD))
    }

    /// The file that a blob lies in, for whoever wants to damage it.
    #[must_use]
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.directory.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}
