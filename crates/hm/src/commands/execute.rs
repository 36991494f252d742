//! What `hm run` and `hm rerun` have in common: start, record, render, cancel, count.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::StreamExt;
use hm_exec::local::ArtifactStore;
use hm_exec::{BuildOutcome, EventStream, RunRequest};
use hm_plugin_protocol::events::BuildEvent;

use crate::artifacts;
use crate::backend::Runner;
use crate::config::Config;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::record::{RecordedOptions, RecordedStatus, RunRecord, RunStore};
use crate::secret_source::SecretSource;
use crate::secrets::Resolved;
use crate::show;
use crate::signals::Signals;
use crate::stats::Stats;

/// A build that is about to run.
#[derive(Debug)]
pub struct Execution {
    /// What to run.
    pub request: RunRequest,
    /// What stands in for images, for the record.
    pub images: BTreeMap<String, String>,
    /// Python interpreters started to get the plan.
    pub python_started: u64,
    /// Where the counters go.
    pub stats: Option<PathBuf>,
    /// Why secrets are not in the request.
    pub secrets: Resolved,
    /// Where `--secret` said that values are, for the record.
    pub secret_flags: BTreeMap<String, SecretSource>,
    /// Where the artifacts are copied to.
    pub artifacts: Option<PathBuf>,
    /// The plan came from a file, for the record.
    pub plan_file: bool,
}

impl Execution {
    /// Runs the build to its end and tells the exit code.
    ///
    /// # Errors
    /// When it cannot be started, or the backend cannot go on.
    pub fn run(self, context: &Context, config: &Config) -> Result<u8> {
        let runtime = super::runtime()?;
        let code = runtime.block_on(self.run_to_end(context, config));
        runtime.shutdown_background();
        code
    }

    async fn run_to_end(mut self, context: &Context, config: &Config) -> Result<u8> {
        let mut signals = Signals::take_over().map_err(Failure::io("cannot handle", "Ctrl-C"))?;
        let runner = Runner::new(context, config)?;
        let backend = tokio::select! {
            backend = runner.backend(context, config, &mut self.request) => backend?,
            () = signals.next() => return Err(Failure::Interrupted),
        };
        refuse_what_is_not_honoured(&self.request, self.artifacts.is_some(), backend.as_ref())?;

        let show::Shown { mut renderer, notes } = show::renderer(context, config, true)?;
        runner.speak_through(&notes);
        let store = RunStore::new(&config.data_dir);
        let mut record = self.record(context, config, backend.name());
        record.server = runner.server().map(str::to_owned);
        let recorder = store.begin(&mut record, &self.request.plan.ir_json)?;
        let started = tokio::select! {
            started = backend.start(self.request) => started.map_err(|error| self.secrets.explain(error)),
            () = signals.next() => Err(Failure::Interrupted),
        };
        let (events, control) = match started {
            Ok(handle) => handle.into_parts(),
            Err(failure) => {
                recorder.discard();
                return Err(failure);
            }
        };
        let cancel = control.cancel_handle();
        let watcher = signals.cancel_then_kill(cancel.clone(), notes, context.environment.stderr_tty);
        let watcher = tokio::spawn(watcher);

        let copied = Arc::new(AtomicU64::new(0));
        let events = prepared(events, context.environment.started);
        let mut events = recorder.tee(counting(events, &copied));
        let shown = hm_render::render(&mut events, renderer.as_mut(), hm_render::TICK).await;
        if shown.is_err() {
            // Nobody reads the output any more: the build is not wanted, and what it still says is recorded.
            cancel.terminate();
            while events.next().await.is_some() {}
        }
        let outcome = control.wait().await;
        watcher.abort();

        let status = match &outcome {
            Ok(outcome) => outcome.status.into(),
            Err(_) => RecordedStatus::Broken,
        };
        if let Err(failure) = recorder
            .finish(&mut record, status)
            .and_then(|()| store.retain_newest(config.cache.min_free_bytes))
        {
            context.printer.warning(&failure.report().message);
        }
        let handed_out = match &self.artifacts {
            Some(to) => copy_artifacts(context, config, record.run_id, to),
            None => Ok(()),
        };
        if let Err(failure) = artifacts::sweep_now_and_then(&config.data_dir) {
            context.printer.warning(&failure.report().message);
        }
        let outcome = outcome?;
        if let Some(path) = &self.stats {
            count(
                &runner,
                self.python_started,
                copied.load(Ordering::Relaxed),
                &outcome,
            )
            .write(path)?;
        }
        runner.shutdown().await;
        shown.map(drop).map_err(Failure::Output)?;
        match (handed_out, exit::of_status(outcome.status)) {
            (Err(failure), exit::PASSED) => Err(failure),
            (Err(failure), code) => {
                // The build's own failure is what people have to know.
                context.printer.warning(&failure.report().message);
                Ok(code)
            }
            (Ok(()), code) => Ok(code),
        }
    }

    fn record(&self, context: &Context, config: &Config, backend: &str) -> RunRecord {
        let request = &self.request;
        RunRecord {
            run_id: request.run_id,
            pipeline: request.pipeline_slug.clone(),
            repo_root: request.repo_root.clone(),
            branch: request.source.branch.clone(),
            commit: request.source.commit.clone(),
            tag: request.source.tag.clone(),
            plan_file: self.plan_file,
            message: request.source.message.clone(),
            command_line: context.environment.args.clone(),
            env: request.env.clone(),
            secrets: self.secret_flags.clone(),
            options: RecordedOptions::of(&request.options, self.images.clone(), config.platform.as_ref()),
            backend: backend.to_owned(),
            server: None,
            started_at: chrono::Utc::now(),
            finished_at: None,
            status: None,
            pid: std::process::id(),
            plan_digest: None,
            events_digest: None,
        }
    }
}

/// Copies what the steps have made, whether or not the build passed.
fn copy_artifacts(context: &Context, config: &Config, run: uuid::Uuid, to: &Path) -> Result<()> {
    let store = ArtifactStore::new(&config.data_dir);
    let to = context.environment.cwd.join(to);
    let copied = artifacts::copy_out(&store, &store.of_run(run)?, &to)?;
    let told = super::artifacts::told(copied, &to.display().to_string());
    context.printer.note(&told);
    Ok(())
}

/// Adds to the header how long it took until there was one.
fn prepared(events: EventStream, since: Instant) -> EventStream {
    let add = move |mut event: BuildEvent| {
        if let BuildEvent::BuildStart { header, .. } = &mut event {
            let elapsed = u64::try_from(since.elapsed().as_millis());
            header.get_or_insert_default().prepare_ms = elapsed.ok();
        }
        event
    };
    events.map(add).boxed()
}

/// Remembers what the build's header says was copied.
fn counting(events: EventStream, copied: &Arc<AtomicU64>) -> EventStream {
    let copied = Arc::clone(copied);
    let look = move |event: &BuildEvent| {
        if let BuildEvent::BuildStart {
            header: Some(header), ..
        } = event
        {
            copied.store(header.source_changed.unwrap_or(0), Ordering::Relaxed);
        }
    };
    events.inspect(look).boxed()
}

fn count(runner: &Runner, python_started: u64, files_copied: u64, outcome: &BuildOutcome) -> Stats {
    let mut stats = Stats {
        python_started,
        files_copied,
        ..Stats::default()
    };
    stats.count(outcome);
    runner.count(&mut stats);
    stats
}

/// A flag that the backend cannot honour is refused, not ignored.
fn refuse_what_is_not_honoured(
    request: &RunRequest,
    artifacts: bool,
    backend: &dyn hm_exec::ExecutionBackend,
) -> Result<()> {
    let can = backend.capabilities();
    let options = &request.options;
    let asked = [
        ("--no-watch", !options.watch, can.supports_no_watch),
        (
            "--parallelism",
            options.parallelism.is_some(),
            can.honors_parallelism,
        ),
        ("--keep-going", options.keep_going, can.honors_keep_going),
        ("--no-cache", options.no_cache, can.honors_no_cache),
        ("--timeout", options.timeout.is_some(), can.enforces_timeout),
        ("--only", options.only.is_some(), can.honors_step_selection),
        ("--from", options.from.is_some(), can.honors_step_selection),
        (
            "--image",
            options.images != hm_vm::ImageMap::default(),
            can.honors_image_map,
        ),
        ("--failed", options.resume.is_some(), can.honors_step_selection),
        ("--artifacts", artifacts, can.collects_artifacts),
        ("--secret", !request.secrets.is_empty(), can.takes_secrets),
    ];
    match asked.iter().find(|(_, asked, honoured)| *asked && !honoured) {
        Some((flag, _, _)) => {
            let hint = (*flag == "--artifacts" && can.is_observer).then_some(
                "what the steps make stays with the agent: have a step send it somewhere, or run the build here",
            );
            Err(Failure::usage(
                format!("the backend {} cannot honour {flag}", backend.name()),
                hint,
            ))
        }
        None => Ok(()),
    }
}
