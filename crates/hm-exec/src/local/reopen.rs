//! A step of a past run, set up again as it ran, for whoever looks around in it: its services run, its environment and its
//! secrets are there, and its cache directories as copies that are thrown away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use hm_pipeline_ir::{ServiceScope, StepIndex};
use hm_plugin_protocol::events::BuildEvent;
use hm_snapshots::Registry;
use hm_source::Source;
use hm_vm::{CacheKeep, Cancel, ExecRequest, SnapshotId, Vm, VmError};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::artifacts::ArtifactStore;
use super::backend::LocalBackend;
use super::patience::in_patience;
use super::run::{Run, Start};
use super::scrub::Scrubber;
use super::select::Selection;
use super::services::{Beside, Chain, Readiness, Services, Site};
use super::sink::Sink;
use super::snapshots::Snapshots;
use super::views::Views;
use super::{command, features};
use crate::freeze::freeze;
use crate::{BackendError, Result, RunRequest};

/// How many of a service's last lines go with why it cannot be used.
const LAST_LINES: usize = 5;

/// Which step is to be set up again.
#[derive(Debug, Clone)]
pub struct Reopen {
    /// What the run was asked for, with those of its secrets that can be had today.
    pub request: RunRequest,
    /// The step's key.
    pub step: String,
    /// What the machine starts from; none for the image that the step starts from.
    pub snapshot: Option<SnapshotId>,
    /// The frozen source that the run saw; none for today's.
    pub source_id: Option<String>,
}

/// A step that was set up again. [`Reopened::close`] ends all of it; dropping it ends what runs.
#[derive(Debug)]
pub struct Reopened {
    machine: Box<dyn Vm>,
    exec: ExecRequest,
    surroundings: Surroundings,
    unready: Option<String>,
    has_todays_source: bool,
    /// Holds the snapshot's lease.
    run: Run,
    index: StepIndex,
}

/// What runs with the machine.
#[derive(Debug)]
struct Surroundings {
    services: Option<Beside>,
    tasks: TaskTracker,
    /// The services' last lines.
    log: Arc<Mutex<BTreeMap<String, VecDeque<String>>>>,
}

impl LocalBackend {
    /// Sets a step of a past run up again, without running its command; nothing when `cancel` ends that. A service that
    /// cannot be used keeps nobody out: [`Reopened::unready`] says so.
    ///
    /// # Errors
    /// When there is no such step, snapshot or image, or this machine cannot run it.
    pub async fn reopen(&self, wanted: Reopen, cancel: &Cancel) -> Result<Option<Reopened>> {
        let (run, index, has_todays_source) = self.past_run(&wanted).await?;
        let start = match wanted.snapshot {
            Some(snapshot) => Start::Snapshot(snapshot),
            None => run.start_image(run.graph().step(index))?,
        };
        let (sink, events) = Sink::new(run.scrubber.clone());
        let mut surroundings = Surroundings {
            services: None,
            tasks: TaskTracker::new(),
            log: Arc::default(),
        };
        tokio::spawn(keep_last_lines(events, Arc::clone(&surroundings.log)));
        let site = || Site {
            vm: Arc::clone(&run.vm),
            source: Arc::clone(run.views.of(index)),
            sink,
            halt: cancel.clone(),
            tasks: surroundings.tasks.clone(),
        };
        let services = run.services(index, site, Arc::<Chain>::default)?;
        let set_up = surroundings.set_up(&run, index, &start, services.as_ref(), cancel);
        let set_up = set_up.await;
        let (machine, unready) = match set_up {
            Ok((Some(machine), Some(Readiness::Usable))) => (machine, None),
            Ok((Some(machine), Some(Readiness::Unready(why)))) => (machine, Some(why)),
            Ok((machine, _)) => {
                surroundings.close(machine).await?;
                return Ok(None);
            }
            Err(error) => {
                if let Err(second) = surroundings.close(None).await {
                    tracing::warn!(error = %second, "a step's services could not be removed; the next run tries again");
                }
                return Err(error.into());
            }
        };
        let mut exec = run.exec(run.graph().step(index));
        exec.pod = surroundings.services.as_ref().map(Beside::pod);
        for cache in &mut exec.caches {
            cache.keep = CacheKeep::Never;
        }
        Ok(Some(Reopened {
            machine,
            exec,
            unready,
            surroundings,
            has_todays_source,
            run,
            index,
        }))
    }

    /// A run of that one step, as far as it is needed to set the step up; and whether its source is today's.
    async fn past_run(&self, wanted: &Reopen) -> Result<(Run, StepIndex, bool)> {
        hm_fs::close_to_others(&self.data_dir)
            .map_err(VmError::io("cannot close to others", &self.data_dir))?;
        self.vm.ready().await?;
        let mut request = wanted.request.clone();
        request.options.only = Some(wanted.step.clone());
        let selection = Selection::new(&request.plan.graph, &request.options)?;
        let Some(index) = request.plan.graph.index_of(&wanted.step) else {
            return Err(BackendError::NotFound(format!("step `{}`", wanted.step)));
        };
        features::check(&request, &selection, self.vm.name(), self.vm.features())?;
        command::check(&request.plan.graph, &request.env)?;
        let scrubber = Scrubber::new(&request.secrets).map_err(BackendError::Other)?;
        let snapshots = Snapshots::open(Registry::open(
            &self.data_dir.join("registry").join(self.vm.name()),
        )?)?;
        if let Some(snapshot) = &wanted.snapshot
            && !snapshots.pin(snapshot)?
        {
            return Err(VmError::SnapshotNotFound(snapshot.clone()).into());
        }
        let images = self
            .images_of_step(&request, index, wanted.snapshot.is_none())
            .await?;
        let recorded = match &wanted.source_id {
            Some(id) => self.recorded_source(id.clone()).await?,
            None => None,
        };
        let is_todays = recorded.is_none();
        let source = match recorded {
            Some(source) => source,
            None => freeze(&self.sources, &request).await?,
        };
        let run = Run {
            vm: Arc::clone(&self.vm),
            selection,
            images,
            views: Views::new(source, &request, false),
            snapshots: Arc::new(snapshots),
            scrubber,
            artifacts: ArtifactStore::new(&self.data_dir),
            request,
        };
        Ok((run, index, is_todays))
    }

    async fn recorded_source(&self, id: String) -> Result<Option<Source>> {
        let sources = Arc::clone(&self.sources);
        let reopened = tokio::task::spawn_blocking(move || sources.reopen(&id)).await;
        let reopened =
            reopened.map_err(|error| BackendError::Other(format!("cannot read the source: {error}")))?;
        Ok(reopened.map_err(VmError::from)?)
    }
}

impl Surroundings {
    /// Readies the machine and the services at once. What is none was not waited for to its end.
    async fn set_up(
        &mut self,
        run: &Run,
        index: StepIndex,
        start: &Start,
        services: Option<&Services>,
        cancel: &Cancel,
    ) -> Result<(Option<Box<dyn Vm>>, Option<Readiness>), VmError> {
        if let Some(services) = services {
            self.services = Some(services.begin().await?);
        }
        let stop = cancel.child();
        let machine = async {
            let made = start.machine(run.vm.as_ref(), cancel).await;
            if made.is_err() {
                stop.kill();
            }
            made
        };
        let ready = async {
            match &mut self.services {
                Some(services) => services.ready(&stop).await,
                None => Ok(Readiness::Usable),
            }
        };
        let (machine, ready) = tokio::join!(machine, ready);
        let Some(mut machine) = machine? else {
            return Ok((None, None));
        };
        let source = Arc::clone(run.views.of(index));
        if in_patience(cancel, machine.inject(source))
            .await
            .transpose()?
            .is_none()
        {
            return Ok((Some(machine), None));
        }
        Ok((Some(machine), Some(ready?)))
    }

    /// Ends all of it, whichever of its parts there are.
    async fn close(self, machine: Option<Box<dyn Vm>>) -> Result<(), VmError> {
        let destroyed = match machine {
            Some(machine) => machine.destroy().await,
            None => Ok(()),
        };
        if let Some(services) = self.services {
            services.end(false, false).await;
        }
        self.tasks.close();
        self.tasks.wait().await;
        destroyed
    }
}

impl Reopened {
    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &dyn Vm {
        self.machine.as_ref()
    }

    /// The step's own command with everything around it, to which another command can be given.
    #[must_use]
    pub const fn exec(&self) -> &ExecRequest {
        &self.exec
    }

    /// The arguments by which the step's shell runs `script`.
    #[must_use]
    pub fn script(&self, script: &str) -> Vec<String> {
        let step = self.run.graph().step(self.index);
        command::argv(step.shell.as_ref(), script)
    }

    /// The names of its services, and whether each has lost what earlier steps of its chain put into it.
    #[must_use]
    pub fn services(&self) -> Vec<(String, bool)> {
        let graph = self.run.graph();
        let own = graph.step(self.index).services.iter();
        let own = own.filter(|service| service.scope == ServiceScope::Step);
        let own = own.map(|service| (service.name.clone(), false));
        let chain = graph.chain_services(self.index).into_iter();
        let chain = chain.map(|(first, service)| (service.name.clone(), first != self.index));
        own.chain(chain).collect()
    }

    /// Why a service cannot be used, with what it wrote last.
    #[must_use]
    pub fn unready(&self) -> Option<String> {
        let why = self.unready.as_ref()?;
        let log = self.surroundings.log.lock();
        let log = log.unwrap_or_else(PoisonError::into_inner);
        let named = log
            .iter()
            .filter(|(name, _)| why.contains(&format!("service `{name}`")));
        let lines: String = named
            .flat_map(|(_, lines)| lines)
            .map(|line| format!("\n  | {line}"))
            .collect();
        Some(format!("{why}{lines}"))
    }

    /// Whether the source is today's, asked for or not.
    #[must_use]
    pub const fn has_todays_source(&self) -> bool {
        self.has_todays_source
    }

    /// Ends the services and removes the machine.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn close(self) -> Result<()> {
        Ok(self.surroundings.close(Some(self.machine)).await?)
    }
}

/// Takes what services write, and remembers the end of it.
async fn keep_last_lines(
    mut events: mpsc::Receiver<BuildEvent>,
    log: Arc<Mutex<BTreeMap<String, VecDeque<String>>>>,
) {
    while let Some(event) = events.recv().await {
        let BuildEvent::StepLog {
            line,
            service: Some(service),
            ..
        } = event
        else {
            continue;
        };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = log.entry(service).or_default();
        lines.push_back(line);
        if lines.len() > LAST_LINES {
            lines.pop_front();
        }
    }
}
