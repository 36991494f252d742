//! What a contract is tried on, and how its cases run commands.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    Cancel, ExecOutcome, ExecRequest, ImageConfig, ImageReference, KillReason, OutputChunk, Stream, Vm,
    VmBackend,
};
use crate::{Snapshot, SnapshotCheck, SnapshotId};
use hm_source::{Source, SourceOptions, SourceStore};

/// What finds out what an implementation has left behind, such as its mounts and processes.
type Leftovers = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// A backend under test, an image with `sh` in it, and a directory for worktrees.
pub struct Subject {
    /// The backend.
    pub backend: Arc<dyn VmBackend>,
    /// An image that it has.
    pub image: ImageReference,
    scratch: PathBuf,
    leftovers: Option<Leftovers>,
    server: Server,
    configured: Option<(ImageReference, ImageConfig)>,
}

/// How the image serves on a port, and asks a host whether one is served there.
#[derive(Debug, Clone, Copy)]
struct Server {
    serve: fn(u16) -> String,
    probe: fn(&str, u16) -> String,
}

/// Serves with what an image has: Perl is in every Debian's, and busybox in the small ones.
fn serve(port: u16) -> String {
    let perl = "$| = 1; $s = IO::Socket::INET->new(LocalPort => shift, Listen => 5, ReuseAddr => 1) or die $@; \
                print \"serving\\n\"; while ($c = $s->accept) { print $c \"pong\\n\"; close $c }";
    format!(
        "if command -v perl > /dev/null; then exec perl -MIO::Socket::INET -e '{perl}' {port}; \
         else echo serving; exec nc -lk -p {port} -e echo pong; fi"
    )
}

fn probe(host: &str, port: u16) -> String {
    let perl = "$c = IO::Socket::INET->new(PeerAddr => shift, PeerPort => shift, Timeout => 5) or exit 1; print <$c>";
    format!(
        "if command -v perl > /dev/null; then perl -MIO::Socket::INET -e '{perl}' {host} {port}; \
         else nc -w 5 {host} {port} < /dev/null; fi"
    )
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// How.
    pub outcome: ExecOutcome,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Ran {
    /// Standard output as text.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The exit code.
    #[must_use]
    pub const fn code(&self) -> i32 {
        self.outcome.status.code()
    }
}

impl Subject {
    /// A subject; `scratch` is an empty directory that its caller removes.
    pub fn new(backend: Arc<dyn VmBackend>, image: ImageReference, scratch: impl Into<PathBuf>) -> Self {
        Self {
            backend,
            image,
            scratch: scratch.into(),
            leftovers: None,
            server: Server { serve, probe },
            configured: None,
        }
    }

    /// Has cases that need a server use these commands instead of Perl or busybox: one that says something once it
    /// serves on a port and goes on until it is killed, and one that passes when a host serves on it.
    #[must_use]
    pub fn with_server(mut self, serve: fn(u16) -> String, probe: fn(&str, u16) -> String) -> Self {
        self.server = Server { serve, probe };
        self
    }

    /// Names an image that says how it is run, and what it says.
    #[must_use]
    pub fn with_configured(mut self, image: ImageReference, config: ImageConfig) -> Self {
        self.configured = Some((image, config));
        self
    }

    pub(super) const fn configured(&self) -> Option<&(ImageReference, ImageConfig)> {
        self.configured.as_ref()
    }

    /// Whether its commands are those of the in-memory double.
    pub(super) fn is_memory(&self) -> bool {
        self.backend.name() == "memory"
    }

    pub(super) fn serve(&self, port: u16) -> String {
        (self.server.serve)(port)
    }

    pub(super) fn probe(&self, host: &str, port: u16) -> String {
        (self.server.probe)(host, port)
    }

    /// An empty directory.
    pub(super) fn empty_directory(&self, name: &str) -> PathBuf {
        let directory = self.scratch.join(name);
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).expect("a directory");
        directory
    }

    /// Has every case checked for what it leaves behind: `found` lists it, in words.
    #[must_use]
    pub fn with_leftovers(mut self, found: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        self.leftovers = Some(Box::new(found));
        self
    }

    pub(super) fn leftovers(&self) -> Vec<String> {
        self.leftovers.as_ref().map(|found| found()).unwrap_or_default()
    }

    /// A worktree with these files, frozen.
    pub(super) async fn source(&self, files: &[(&str, &str)]) -> Arc<Source> {
        let (tree, store) = (self.scratch.join("tree"), self.scratch.join("sources"));
        let _ = std::fs::remove_dir_all(&tree);
        std::fs::create_dir_all(&tree).expect("a worktree");
        for (path, content) in files {
            write(&tree.join(path), content);
        }
        let frozen = tokio::task::spawn_blocking(move || {
            SourceStore::new(store).freeze(&tree, &SourceOptions::default())
        });
        Arc::new(frozen.await.expect("no panic").expect("it freezes"))
    }

    /// A fresh machine with an empty source.
    pub(super) async fn machine(&self) -> Box<dyn Vm> {
        self.machine_with(Arc::new(Source::empty())).await
    }

    pub(super) async fn machine_with(&self, source: Arc<Source>) -> Box<dyn Vm> {
        let image = self
            .backend
            .resolve(&self.image)
            .await
            .expect("the image is there");
        let mut vm = self.backend.create(&image).await.expect("a machine");
        vm.inject(source).await.expect("the source is laid");
        vm
    }

    /// A machine from a snapshot, with an empty source.
    pub(super) async fn restored(&self, snapshot: &Snapshot) -> Box<dyn Vm> {
        self.restored_with(snapshot, Arc::new(Source::empty())).await
    }

    pub(super) async fn restored_with(&self, snapshot: &Snapshot, source: Arc<Source>) -> Box<dyn Vm> {
        let mut vm = self.backend.restore(&snapshot.id).await.expect("a machine");
        vm.inject(source).await.expect("the source is laid");
        vm
    }

    /// What a snapshot is over a source.
    pub(super) async fn check(&self, snapshot: &SnapshotId, source: &Source) -> SnapshotCheck {
        let check = self.backend.check(snapshot, source).await;
        check.expect("the store is read")
    }
}

fn write(path: &Path, content: &str) {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).expect("a directory");
    }
    std::fs::write(path, content).expect("a file");
}

/// Runs a shell command to its end.
pub(super) async fn sh(vm: &dyn Vm, command: &str) -> Ran {
    run(vm, &ExecRequest::shell(command)).await
}

/// Runs a shell command that must pass, and gives its standard output.
pub(super) async fn passes(vm: &dyn Vm, command: &str) -> String {
    let ran = sh(vm, command).await;
    assert_eq!(ran.code(), 0, "{command}: {ran:?}");
    ran.out()
}

/// Runs a command while another one is under way, and cancels that one then. The other one must have said something
/// first.
pub(super) async fn meanwhile<T>(vm: &dyn Vm, request: &ExecRequest, then: impl Future<Output = T>) -> T {
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
    let outcome = outcome.expect("it runs");
    assert_eq!(outcome.killed, Some(KillReason::Canceled), "{outcome:?}");
    done
}

/// The snapshot of a machine after a shell command that must pass; the machine is destroyed.
pub(super) async fn leaves(mut vm: Box<dyn Vm>, command: &str) -> Snapshot {
    passes(vm.as_mut(), command).await;
    let snapshot = vm.snapshot().await.expect("a snapshot");
    vm.destroy().await.expect("it is destroyed");
    snapshot
}

/// Runs a command to its end.
pub(super) async fn run(vm: &dyn Vm, request: &ExecRequest) -> Ran {
    let (sender, mut chunks) = mpsc::channel::<OutputChunk>(4);
    let mut written: BTreeMap<bool, Vec<u8>> = BTreeMap::new();
    let read = async {
        while let Some(chunk) = chunks.recv().await {
            assert!(
                chunk.bytes.len() <= 64 * 1024,
                "a chunk of {} bytes",
                chunk.bytes.len()
            );
            written
                .entry(chunk.stream == Stream::Stderr)
                .or_default()
                .extend_from_slice(&chunk.bytes);
        }
    };
    let (outcome, ()) = tokio::join!(vm.exec(request, sender, Cancel::new()), read);
    Ran {
        outcome: outcome.expect("the command runs"),
        stdout: written.remove(&false).unwrap_or_default(),
        stderr: written.remove(&true).unwrap_or_default(),
    }
}
