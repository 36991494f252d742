//! Everything about a run that can fail before it is under way.

use std::sync::Arc;

use hm_snapshots::Registry;

use super::artifacts::ArtifactStore;
use super::backend::LocalBackend;
use super::command;
use super::features;
use super::run::Run;
use super::secrets;
use super::select::Selection;
use super::snapshots::Snapshots;
use super::views::Views;
use crate::freeze::freeze;
use crate::{BackendError, Result, RunRequest};

impl LocalBackend {
    /// Checks the request, finds the images, freezes the source and opens the registry.
    pub(super) async fn set_up(&self, request: RunRequest) -> Result<Run> {
        hm_fs::close_to_others(&self.data_dir)
            .map_err(hm_vm::VmError::io("cannot close to others", &self.data_dir))?;
        self.vm.ready().await?;
        let selection = Selection::new(&request.plan.graph, &request.options)?;
        self.check_runners(&request)?;
        features::check(&request, &selection, self.vm.name(), self.vm.features())?;
        command::check(&request.plan.graph, &request.env)?;
        let scrubber = secrets::check(&request, &selection)?;
        let images = self.images(&request, &selection).await?;
        let registry = Registry::open(&self.data_dir.join("registry").join(self.vm.name()))?;
        let snapshots = Arc::new(Snapshots::open(registry)?);
        let source = freeze(&self.sources, &request).await?;
        let watched = request
            .plan
            .graph
            .steps()
            .any(|(_, step)| step.cache.uses_source());
        let views = Views::new(source, &request, watched);
        Ok(Run {
            vm: Arc::clone(&self.vm),
            request,
            selection,
            images,
            views,
            snapshots,
            scrubber,
            artifacts: ArtifactStore::new(&self.data_dir),
        })
    }

    /// A plan may name the runner that any of our machines is; another one would run the step elsewhere.
    fn check_runners(&self, request: &RunRequest) -> Result<()> {
        let ours = ["vm", "local", "default", self.vm.name()];
        for (_, step) in request.plan.graph.steps() {
            let Some(runner) = &step.runner else { continue };
            if !ours.contains(&runner.as_str()) {
                return Err(BackendError::Rejected {
                    code: "unknown_runner".into(),
                    message: format!(
                        "step `{}` asks for the runner `{runner}`, which this backend does not have: leave \
                         `runner` out, or make it `vm`",
                        step.key
                    ),
                });
            }
        }
        Ok(())
    }
}
