//! A host with secrets in it, and a sandbox that must not give them away.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use hm_sandbox::{SandboxBackend, SandboxConfig};
use hm_source::Source;
use hm_vm::testing::contract::Ran;
use hm_vm::{Cancel, ExecRequest, ImageReference, OutputChunk, Stream, Vm, VmBackend};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// How long a test waits for what should come at once: only a broken sandbox reaches it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A process that ends with the test.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What lies in the fake home.
pub const SECRETS: &[&str] = &[
    ".ssh/id_ed25519",
    ".cargo/credentials.toml",
    ".cargo/config.toml",
    ".netrc",
    ".git-credentials",
    ".gnupg/private-keys-v1.d/key",
    ".aws/credentials",
    ".config/gh/hosts.yml",
    ".config/hm/credentials.toml",
    ".docker/config.json",
    ".bash_history",
    "project/.env",
];

/// A data directory, a home with secrets and a toolchain, and a backend.
pub struct World {
    /// First, so that nothing writes to the directory any more when that is removed.
    pub backend: Arc<SandboxBackend>,
    pub home: PathBuf,
    pub data: PathBuf,
    /// Stands in every secret file, and nowhere else on this machine.
    pub marker: String,
    pub config: SandboxConfig,
    pub directory: TempDir,
}

impl World {
    pub fn within(parent: &Path) -> Self {
        Self::with(parent, |_| {})
    }

    pub fn with(parent: &Path, change: impl FnOnce(&mut SandboxConfig)) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("hm-test-")
            .tempdir_in(parent)
            .unwrap();
        let (home, data) = (directory.path().join("home"), directory.path().join("data"));
        let marker = format!("secret-{}", uuid::Uuid::new_v4().simple());
        for secret in SECRETS {
            write(&home.join(secret), &marker);
        }
        let tool = home.join(".cargo/bin/hm-test-tool");
        write(&tool, "#!/bin/sh\necho tool runs\n");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            tool.parent().unwrap().display()
        );
        let mut config = SandboxConfig::new(&data, path);
        config.home = Some(home.clone());
        change(&mut config);
        let backend = Arc::new(SandboxBackend::new(config.clone()).unwrap());
        Self {
            directory,
            home,
            data,
            marker,
            config,
            backend,
        }
    }

    pub async fn machine(&self) -> Box<dyn Vm> {
        self.machine_of("host").await
    }

    pub async fn machine_of(&self, image: &str) -> Box<dyn Vm> {
        let image = self.backend.resolve(&ImageReference::new(image)).await.unwrap();
        let mut vm = self.backend.create(&image).await.unwrap();
        vm.inject(Arc::new(Source::empty())).await.unwrap();
        vm
    }

    /// A shell command in a machine of its own.
    pub async fn sh(&self, command: &str) -> Ran {
        self.run(&ExecRequest::shell(command)).await
    }

    /// A command in a machine of its own.
    pub async fn run(&self, request: &ExecRequest) -> Ran {
        let mut vm = self.machine().await;
        let ran = run(vm.as_mut(), request).await;
        vm.destroy().await.unwrap();
        ran
    }

    /// A shell command that must pass, in a machine of its own; gives what it said.
    pub async fn passes(&self, command: &str) -> String {
        let ran = self.sh(command).await;
        assert_eq!(ran.code(), 0, "{command}: {}", said(&ran));
        ran.out()
    }

    /// A shell command that must fail, in a machine of its own.
    pub async fn fails(&self, command: &str) -> Ran {
        let ran = self.sh(command).await;
        assert_ne!(ran.code(), 0, "{command}: {}", said(&ran));
        ran
    }

    /// A Python program, in a machine of its own.
    pub async fn python(&self, program: &str) -> Ran {
        let mut request = ExecRequest::shell("");
        request.argv = ["/usr/bin/python3", "-I", "-c", program].map(Into::into).into();
        self.run(&request).await
    }
}

pub fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// What a command wrote, for a failed assertion.
pub fn said(ran: &Ran) -> String {
    format!(
        "{:?}\n{}{}",
        ran.outcome,
        ran.out(),
        String::from_utf8_lossy(&ran.stderr)
    )
}

pub async fn sh(vm: &dyn Vm, command: &str) -> Ran {
    run(vm, &ExecRequest::shell(command)).await
}

/// Runs a command to its end.
pub async fn run(vm: &dyn Vm, request: &ExecRequest) -> Ran {
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
    let ran = async { tokio::join!(vm.exec(request, sender, Cancel::new()), read) };
    let (outcome, ()) = tokio::time::timeout(PATIENCE, ran)
        .await
        .unwrap_or_else(|_| panic!("{:?} hangs", request.argv));
    Ran {
        outcome: outcome.unwrap(),
        stdout,
        stderr,
    }
}
