//! A machine of the in-memory double: runs a script on its files.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::export;
use super::script::{Command, Link, Target, parse};
use super::server::Server;
use super::state::{MemoryBackend, Sealed};
use super::view::View;
use crate::{
    Cancel, ExecOutcome, ExecRequest, ExitStatus, KillReason, OutputChunk, Result, Snapshot, Stream, Terminal,
};
use crate::{Export, Exported, Vm, VmError};
use hm_source::Source;

const CHUNK: usize = 64 * 1024;

/// A machine in memory.
#[derive(Debug)]
pub(super) struct MemoryVm {
    backend: MemoryBackend,
    written: Mutex<Sealed>,
    source: Option<Arc<Source>>,
}

/// How one command of a script ended.
enum Step {
    Code(i32),
    Exit(ExitStatus),
    Killed(KillReason),
}

impl MemoryVm {
    pub(super) fn new(backend: MemoryBackend, written: Sealed) -> Self {
        backend.lock().counters.live += 1;
        Self {
            backend,
            written: Mutex::new(written),
            source: None,
        }
    }

    fn read(&self, view: &View<'_>, path: &str) -> Option<Bytes> {
        let path = view.absolute(path);
        match view.read(&path) {
            Some(found) => found,
            None => self.read_own(&key(path)),
        }
    }

    /// A file of the machine itself.
    pub(super) fn read_own(&self, path: &Path) -> Option<Bytes> {
        if let Some(written) = self.written().files.get(path) {
            return written.clone();
        }
        let source = self.source.as_ref()?;
        let mut content = Vec::new();
        source.open(path).ok()?.read_to_end(&mut content).ok()?;
        Some(content.into())
    }

    pub(super) fn source(&self) -> Option<&Source> {
        self.source.as_deref()
    }

    pub(super) fn written(&self) -> MutexGuard<'_, Sealed> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, view: &View<'_>, path: &str, content: Option<Bytes>) {
        let path = view.absolute(path);
        if view.write(&path, content.as_ref()) {
            return;
        }
        let path = key(path);
        let entry = self.source.as_ref().and_then(|source| source.get(&path));
        let mut written = self.written();
        if let Some(entry) = entry
            && !written.files.contains_key(&path)
        {
            Arc::make_mut(&mut written.shadows).insert(path.clone(), Some(entry));
        }
        Arc::make_mut(&mut written.files).insert(path, content);
    }

    async fn print(
        &self,
        view: &View<'_>,
        target: &Target,
        text: Bytes,
        output: &mpsc::Sender<OutputChunk>,
    ) -> Step {
        let stream = match target {
            Target::Stdout => Stream::Stdout,
            Target::Stderr => Stream::Stderr,
            Target::File { path, append } => {
                let before = if *append { self.read(view, path) } else { None };
                let content = [before.unwrap_or_default(), text].concat();
                self.write(view, path, Some(content.into()));
                return Step::Code(0);
            }
        };
        let mut rest = text;
        while !rest.is_empty() {
            let bytes = rest.split_to(rest.len().min(CHUNK));
            if output.send(OutputChunk { stream, bytes }).await.is_err() {
                return Step::Exit(ExitStatus::Signal(13));
            }
        }
        Step::Code(0)
    }

    async fn command(
        &self,
        view: &View<'_>,
        command: &Command,
        output: &mpsc::Sender<OutputChunk>,
    ) -> Result<Step> {
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        let text = match words.as_slice() {
            ["true" | ":"] | ["mkdir", "-p", _] => String::new(),
            ["false"] => return Ok(Step::Code(1)),
            ["exit"] => return Ok(Step::Exit(ExitStatus::Code(0))),
            ["exit", code] => return Ok(Step::Exit(ExitStatus::Code(code.parse().unwrap_or(2)))),
            ["kill", signal, "$$"] => {
                let signal = signal.trim_start_matches('-').parse().unwrap_or(15);
                return Ok(Step::Exit(ExitStatus::Signal(signal)));
            }
            ["sleep", seconds] => {
                let seconds: f64 = seconds.parse().unwrap_or(0.0);
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                return Ok(Step::Code(0));
            }
            ["echo", rest @ ..] => format!("{}\n", rest.join(" ")),
            ["printf", text] => text.replace("\\n", "\n"),
            ["seq", count] => (1..=count.parse().unwrap_or(0))
                .map(|n: u64| format!("{n}\n"))
                .collect(),
            ["cat"] => String::new(),
            ["pwd"] => format!("{}\n", view.request.cwd.display()),
            ["head", "-c", count, "/dev/zero"] => "\0".repeat(count.parse().unwrap_or(0)),
            ["cat", path] => {
                let Some(content) = self.read(view, path) else {
                    let words = format!("cat: {path}: No such file or directory\n");
                    self.print(view, &Target::Stderr, words.into(), output).await;
                    return Ok(Step::Code(1));
                };
                return Ok(self.print(view, &command.target, content, output).await);
            }
            ["rm", path] => {
                self.write(view, path, None);
                return Ok(Step::Code(0));
            }
            ["test", "-e", path] => {
                let there = self.read(view, path).is_some();
                return Ok(Step::Code(i32::from(!there)));
            }
            ["id", "-un"] => format!("{}\n", view.request.user.as_deref().unwrap_or("root")),
            ["hm-serve", name, seconds @ ..] => {
                let _serving = Server::begin(&self.backend, view.request.pod.as_ref(), name);
                let words = format!("{name} serves\n");
                if let end @ (Step::Exit(_) | Step::Killed(_)) =
                    self.print(view, &command.target, words.into(), output).await
                {
                    return Ok(end);
                }
                match seconds.first().and_then(|seconds| seconds.parse().ok()) {
                    Some(seconds) => tokio::time::sleep(Duration::from_secs_f64(seconds)).await,
                    None => std::future::pending().await,
                }
                return Ok(Step::Code(0));
            }
            ["hm-probe", name, host @ ..] => {
                let host = host.first().unwrap_or(&"localhost");
                let pod = view.request.pod.as_ref();
                if !self.backend.lock().pods.answers(pod, name, host) {
                    let words = format!("hm-probe: {name} does not answer at {host}\n");
                    self.print(view, &Target::Stderr, words.into(), output).await;
                    return Ok(Step::Code(1));
                }
                String::new()
            }
            // Read when the command begins.
            ["hm-trap", ..] => String::new(),
            ["hm-infra"] => return Err(VmError::Other("the in-memory backend was told to break".into())),
            ["hm-panic"] => std::panic::panic_any("the in-memory backend was told to panic"),
            ["hm-oom"] => return Ok(Step::Killed(KillReason::OutOfMemory)),
            ["hm-flaky", name, times] => {
                let mut state = self.backend.lock();
                let seen = state.flaky.entry((*name).to_owned()).or_default();
                *seen += 1;
                return Ok(Step::Code(i32::from(*seen <= times.parse().unwrap_or(0))));
            }
            [other, ..] => {
                let words = format!("sh: {other}: not found\n");
                self.print(view, &Target::Stderr, words.into(), output).await;
                return Ok(Step::Code(127));
            }
            [] => String::new(),
        };
        Ok(self.print(view, &command.target, text.into(), output).await)
    }

    /// What the script does when it is terminated: `hm-trap SECONDS [CODE]` stands anywhere in it.
    fn trap(view: &View<'_>) -> Option<(Duration, i32)> {
        let commands = parse(&Self::text(view), &view.env);
        commands.iter().find_map(|command| {
            let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
            let ["hm-trap", seconds, code @ ..] = words.as_slice() else {
                return None;
            };
            let code = code.first().and_then(|code| code.parse().ok());
            Some((Duration::from_secs_f64(seconds.parse().ok()?), code.unwrap_or(0)))
        })
    }

    /// The end of a command that is terminated.
    async fn terminated(
        &self,
        view: &View<'_>,
        output: &mpsc::Sender<OutputChunk>,
        cancel: &Cancel,
    ) -> ExitStatus {
        let Some((takes, code)) = Self::trap(view) else {
            return ExitStatus::Signal(15);
        };
        tokio::select! {
            biased;
            () = cancel.killed() => ExitStatus::Signal(9),
            () = tokio::time::sleep(takes), if takes <= view.request.grace => {
                self.print(view, &Target::Stdout, "terminated\n".into(), output).await;
                ExitStatus::Code(code)
            }
            () = tokio::time::sleep(view.request.grace) => ExitStatus::Signal(9),
        }
    }

    fn text(view: &View<'_>) -> String {
        match view.request.argv.as_slice() {
            [sh, flag, script] if sh == "sh" && flag == "-c" => script.clone(),
            argv => match argv
                .iter()
                .position(|word| word == "--")
                .map(|at| &argv[at + 1..])
            {
                Some([script]) => script.clone(),
                // A script that is too long for one argument, in pieces.
                Some([_, _, pieces @ ..]) => pieces.concat(),
                _ => argv.join(" "),
            },
        }
    }

    async fn script(&self, view: &View<'_>, output: &mpsc::Sender<OutputChunk>) -> Result<Step> {
        let mut last = 0;
        for command in parse(&Self::text(view), &view.env) {
            let wanted = match command.link {
                Link::Then => true,
                Link::And => last == 0,
                Link::Or => last != 0,
            };
            if wanted {
                match self.command(view, &command, output).await? {
                    Step::Code(code) => last = code,
                    end => return Ok(end),
                }
            }
        }
        Ok(Step::Code(last))
    }
}

/// Counts a command as running for as long as it lives, whatever ends it.
struct Running(MemoryBackend);

impl Running {
    fn begin(backend: &MemoryBackend, request: &ExecRequest) -> Self {
        let mut state = backend.lock();
        state.counters.execs += 1;
        state.counters.running += 1;
        state.counters.most_running = state.counters.most_running.max(state.counters.running);
        state.trace.extend(request.argv.last().cloned());
        Self(backend.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().counters.running -= 1;
    }
}

impl Drop for MemoryVm {
    fn drop(&mut self) {
        self.backend.lock().counters.live -= 1;
    }
}

#[async_trait]
impl Vm for MemoryVm {
    async fn inject(&mut self, source: Arc<Source>) -> Result<()> {
        self.source = Some(source);
        Ok(())
    }

    async fn exec(
        &self,
        request: &ExecRequest,
        output: mpsc::Sender<OutputChunk>,
        cancel: Cancel,
    ) -> Result<ExecOutcome> {
        if let Some(pod) = &request.pod {
            self.backend.lock().pods.find(pod)?;
        }
        let _running = Running::begin(&self.backend, request);
        let view = View::new(&self.backend, request);
        let script = async {
            self.backend.take(|delays| delays.start).await;
            request.start.mark();
            self.script(&view, &output).await
        };
        let end = tokio::select! {
            biased;
            () = cancel.terminated() => {
                let status = self.terminated(&view, &output, &cancel).await;
                return Ok(outcome(status, Some(KillReason::Canceled)));
            }
            () = output.closed() => Step::Exit(ExitStatus::Signal(13)),
            end = script => end?,
        };
        let ended = match end {
            Step::Code(code) => outcome(ExitStatus::Code(code), None),
            Step::Exit(status) => outcome(status, None),
            Step::Killed(reason) => outcome(ExitStatus::Signal(9), Some(reason)),
        };
        view.keep(&self.backend, &ended);
        Ok(ended)
    }

    async fn attach(&self, request: &ExecRequest, terminal: Terminal, cancel: Cancel) -> Result<ExecOutcome> {
        let (sender, mut receiver) = mpsc::channel::<OutputChunk>(1);
        let drawn = async {
            while let Some(chunk) = receiver.recv().await {
                if terminal.output.send(chunk.bytes).await.is_err() {
                    break;
                }
            }
        };
        let (outcome, ()) = tokio::join!(self.exec(request, sender, cancel), drawn);
        outcome
    }

    async fn export(&self, what: &Export, into: &Path) -> Result<Exported> {
        let mut paths: BTreeSet<PathBuf> = self.written().files.keys().cloned().collect();
        if let Some(source) = self.source() {
            paths.extend(source.entries().map(|(path, _)| path.to_path_buf()));
        }
        let exported = export::export(paths, |path| self.read_own(path), what, into)?;
        self.backend.lock().counters.exported += exported.files.len() as u64;
        Ok(exported)
    }

    async fn snapshot(&mut self) -> Result<Snapshot> {
        self.backend.take(|delays| delays.snapshot).await;
        Ok(Snapshot {
            id: self.backend.seal(self.written().clone()),
        })
    }

    async fn destroy(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// A path as the machine's files are keyed: relative to `/workspace`, or absolute outside it.
fn key(path: PathBuf) -> PathBuf {
    path.strip_prefix(crate::WORKSPACE)
        .map(Path::to_path_buf)
        .unwrap_or(path)
}

fn outcome(status: ExitStatus, killed: Option<KillReason>) -> ExecOutcome {
    let notes = match killed {
        Some(KillReason::OutOfMemory) => vec!["it used up its memory limit".to_owned()],
        _ => Vec::new(),
    };
    ExecOutcome {
        status,
        killed,
        notes,
    }
}
