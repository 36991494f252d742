//! `[RUN/]STEP[@before|@after]`: which snapshot that is.

use std::collections::{BTreeMap, BTreeSet};

use hm_exec::local::Reopen;
use hm_exec::{Plan, RunRequest, SourceMeta};
use hm_oci::Platform;
use hm_pipeline_ir::{SecretUse, Shell};
use hm_vm::SnapshotId;

use crate::address::{self, Moment};
use crate::choices::BackendChoice;
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::record::{FinishedSteps, Run};
use crate::secret_source::SecretSource;

/// A place to open a shell in.
#[derive(Debug)]
pub struct Place {
    /// The run.
    pub run: Run,
    /// What to call it: `STEP@after`.
    pub label: String,
    /// What is set up for it.
    pub reopen: Reopen,
    /// What runs the step's command, where the plan names it.
    pub shell: Option<Shell>,
    /// The secrets that the step asks for.
    pub secrets: Vec<SecretUse>,
    /// Where `--secret` said that values are.
    pub secret_flags: BTreeMap<String, SecretSource>,
    /// What ran it.
    pub backend: Option<BackendChoice>,
    /// The platform of images that was asked for.
    pub platform: Option<Platform>,
}

impl Place {
    /// The program of the step's shell.
    pub fn shell_program(&self) -> &str {
        self.shell.as_ref().map_or("sh", Shell::program)
    }

    /// The names of the services that the step needs.
    pub fn services(&self) -> Vec<&str> {
        let graph = &self.reopen.request.plan.graph;
        let Some(index) = graph.index_of(&self.reopen.step) else {
            return Vec::new();
        };
        let chain = graph.chain_services(index);
        let own = graph.step(index).services.iter();
        let all = own.chain(chain.into_iter().map(|(_, service)| service));
        let names: BTreeSet<&str> = all.map(|service| service.name.as_str()).collect();
        names.into_iter().collect()
    }
}

/// Finds the place that the user names.
///
/// # Errors
/// When there is no such run or step, or it left nothing.
pub fn find(context: &Context, target: &str) -> Result<Place> {
    let named = address::step(context, target)?;
    let (run, place) = (named.run, named.step.unwrap_or_default());
    let record = run.record()?;
    if BackendChoice::recorded_as(&record.backend) == Some(BackendChoice::Cloud) {
        return Err(Failure::usage(
            format!(
                "run {} was a server's: what its steps left is on the agent, and not here",
                run.short_id()
            ),
            [format!(
                "run it here first: `hm run {}`, then `hm shell {place}`",
                record.pipeline
            )],
        ));
    }
    let steps = FinishedSteps::of(run.events(false)?);
    let (key, moment) = address::known_step(&run, &steps, &place)?;
    let key = key.as_str();
    let plan = Plan::parse(run.plan()?).map_err(|error| Failure::Plan {
        from: format!("the plan of run {}", run.short_id()),
        error,
    })?;
    let Some(step) = plan.graph.index_of(key).map(|index| plan.graph.step(index)) else {
        return Err(Failure::plain_usage(format!(
            "the plan of run {} has no step `{key}`",
            run.short_id()
        )));
    };
    let platform = record.options.platform()?;
    let (shell, secrets) = (step.shell.clone(), step.secrets.clone());
    let snapshot = match moment {
        Moment::After => Some(after(&run, &steps, key)?),
        Moment::Before => match steps.parents.get(key) {
            Some(parent) => Some(after(&run, &steps, parent)?),
            None => None,
        },
    };
    let request = RunRequest {
        run_id: record.run_id,
        plan,
        options: record.options.repeat(),
        repo_root: record.repo_root,
        pipeline_slug: record.pipeline,
        env: record.env,
        secrets: BTreeMap::new(),
        source: SourceMeta {
            branch: record.branch,
            commit: record.commit,
            tag: record.tag,
            ..SourceMeta::default()
        },
        cloud_pipeline_slug: None,
    };
    let moment = match moment {
        Moment::After => "after",
        Moment::Before => "before",
    };
    Ok(Place {
        label: format!("{key}@{moment}"),
        reopen: Reopen {
            request,
            step: key.to_owned(),
            snapshot,
            source_id: steps.source_id,
        },
        shell,
        secrets,
        secret_flags: record.secrets,
        backend: BackendChoice::recorded_as(&record.backend),
        platform,
        run,
    })
}

fn after(run: &Run, steps: &FinishedSteps, key: &str) -> Result<SnapshotId> {
    match steps.snapshots.get(key) {
        Some(snapshot) => Ok(SnapshotId(snapshot.0.clone())),
        None => Err(Failure::usage(
            format!(
                "step `{key}` of run {} left nothing: it did not run to its end",
                run.short_id()
            ),
            [format!(
                "`hm shell {}/{key}@before` opens what it would start from",
                run.short_id()
            )],
        )),
    }
}
