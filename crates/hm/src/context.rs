//! What every command works with: surroundings, repository, configuration, printer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hm_vm::ImageReference;

use crate::cli::{BackendArgs, GlobalArgs, OrgArgs, RunArgs, ShowArgs};
use crate::config::{self, Config, Layers, Origin};
use crate::environment::Environment;
use crate::fail::{Failure, Result};
use crate::printer::Printer;
use crate::record::RunStore;
use crate::repository;

/// What every command works with.
#[derive(Debug)]
pub struct Context {
    /// The process's surroundings.
    pub environment: Environment,
    /// Writes messages.
    pub printer: Printer,
    /// The repository, where there is one.
    root: Option<PathBuf>,
    /// What was set, by whom.
    pub layers: Layers,
    /// Done once the data directory was looked over.
    prepared: OnceLock<()>,
}

impl Context {
    /// Finds the repository and reads the configuration.
    ///
    /// # Errors
    /// When `--dir` is no directory, or a configuration file cannot be used.
    pub fn new(environment: Environment, printer: Printer, args: &GlobalArgs) -> Result<Self> {
        let root = match &args.dir {
            Some(dir) => {
                let path = environment.cwd.join(dir);
                let path = path.canonicalize().map_err(Failure::io("cannot use", dir))?;
                if !path.is_dir() {
                    return Err(Failure::plain_usage(format!(
                        "--dir {}: not a directory",
                        dir.display()
                    )));
                }
                Some(path)
            }
            None => repository::find_root(&environment.cwd),
        };
        let mut warnings = Vec::new();
        let mut layers = config::load(&environment, root.as_deref(), &mut warnings)?;
        for warning in warnings {
            printer.warning(&warning);
        }
        if let Some(dir) = &args.data_dir {
            let dir = environment.cwd.join(dir);
            layers.set("data_dir", dir.to_string_lossy(), Origin::Flag("--data-dir"));
        }
        Ok(Self {
            environment,
            printer,
            root,
            layers,
            prepared: OnceLock::new(),
        })
    }

    /// The repository.
    ///
    /// # Errors
    /// When there is none.
    pub fn root(&self) -> Result<&Path> {
        self.root.as_deref().ok_or_else(|| {
            Failure::usage(
                format!(
                    "no repository: neither .hm nor .git at or above {}",
                    self.environment.cwd.display()
                ),
                ["go to one, or name it with --dir"],
            )
        })
    }

    /// The repository, where there is one.
    #[must_use]
    pub fn maybe_root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// The configuration, checked.
    ///
    /// # Errors
    /// A value that makes no sense, and who set it.
    pub fn config(&self) -> Result<Config> {
        let config = Config::check(&self.layers, &self.environment)?;
        self.prepared.get_or_init(|| self.prepare(&config.data_dir));
        Ok(config)
    }

    /// Closes the data directory to others, and removes what lies where it has directories and is none. Whatever this cannot
    /// do, the command that needs it says.
    fn prepare(&self, data_dir: &Path) {
        let removed = hm_fs::mend_directories(data_dir);
        if removed.as_ref().is_ok_and(|removed| *removed > 0) {
            self.printer.warning(&format!(
                "{} was damaged: files lay where it has directories, and were removed",
                data_dir.display()
            ));
        }
        let failed = [removed.err(), hm_fs::close_to_others(data_dir).err()];
        for error in failed.into_iter().flatten() {
            self.printer
                .warning(&format!("cannot look over {}: {error}", data_dir.display()));
        }
    }

    /// The recorded runs.
    ///
    /// # Errors
    /// As [`Context::config`].
    pub fn runs(&self) -> Result<RunStore> {
        Ok(RunStore::new(&self.config()?.data_dir))
    }

    /// What stands in for images, by name.
    #[must_use]
    pub fn image_names(&self) -> BTreeMap<String, String> {
        self.layers
            .images()
            .map(|(name, target, _)| (name.into(), target.into()))
            .collect()
    }

    /// Puts the flags of a run over everything else.
    pub fn take_run_flags(&mut self, args: &RunArgs) {
        self.take_show_flags(&args.show);
        let layers = &mut self.layers;
        layers.flag(
            "parallelism",
            "--parallelism",
            args.parallelism.map(|steps| steps.to_string()),
        );
        layers.flag(
            "keep_going",
            "--keep-going",
            args.keep_going.then(|| "true".into()),
        );
        layers.flag(
            "run.grace",
            "--grace",
            args.grace
                .map(|grace| humantime::format_duration(grace).to_string()),
        );
        layers.flag("git", "--git", args.git.then(|| "true".into()));
        layers.flag("sandbox.nested", "--nested", args.nested.then(|| "true".into()));
        layers.flag("network", "--network", args.network.clone());
        layers.flag("backend", "--backend", args.backend.as_ref().and_then(name_of));
        layers.flag("cloud.org", "--org", args.org.clone());
        layers.flag("cloud.pipeline", "--cloud-pipeline", args.cloud_pipeline.clone());
        layers.flag("image.pull", "--pull", args.pull.clone());
        layers.flag(
            "image.platform",
            "--platform",
            args.platform.as_ref().map(ToString::to_string),
        );
        for (name, target) in &args.image {
            let target = ImageReference::new(target).seen_from(&self.environment.cwd);
            layers.set_image(name, target.as_str(), Origin::Flag("--image"));
        }
    }

    /// Puts the choice of an organization over everything else.
    pub fn take_org_flag(&mut self, args: &OrgArgs) {
        self.layers.flag("cloud.org", "--org", args.org.clone());
    }

    /// Puts the choice of a backend over everything else.
    pub fn take_backend_flag(&mut self, args: &BackendArgs) {
        self.layers
            .flag("backend", "--backend", args.backend.as_ref().and_then(name_of));
    }

    /// Puts the flags of a rendering over everything else.
    pub fn take_show_flags(&mut self, args: &ShowArgs) {
        self.layers
            .flag("format", "--format", args.format.as_ref().and_then(name_of));
        self.layers
            .flag("logs", "--logs", args.logs.as_ref().and_then(name_of));
    }
}

fn name_of(value: &impl clap::ValueEnum) -> Option<String> {
    Some(value.to_possible_value()?.get_name().to_owned())
}
