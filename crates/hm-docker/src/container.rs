//! The container that a machine's commands run in.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType};
use bollard::query_parameters::{CreateContainerOptions, UploadToContainerOptions};
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::engine::{failed, status};
use super::labels::MACHINE;
use super::script;
use super::shared::Shared;
use hm_vm::{ExecRequest, Network, Result, SECRETS_DIR, VmError};

/// What a container is made with and cannot be changed later.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    /// Such as `none`, `container:ID`; `None` is the engine's default.
    pub network: Option<String>,
    pub memory: Option<u64>,
    pub cpus: Option<f64>,
    pub pids: Option<u64>,
    pub user: String,
    /// Whether there is a tmpfs for secret files.
    pub secrets: bool,
    /// Volumes and where they are mounted.
    pub volumes: Vec<(String, String)>,
}

impl Shape {
    /// The shape that a request asks for.
    pub(super) fn of(request: &ExecRequest, pod: Option<String>, volumes: Vec<(String, String)>) -> Self {
        Self {
            network: match (pod, request.network) {
                (Some(holder), _) => Some(format!("container:{holder}")),
                (None, Network::None) => Some("none".into()),
                (None, Network::Outbound) => None,
            },
            memory: request.limits.memory,
            cpus: request.limits.cpus,
            pids: request.limits.pids,
            user: request.user.clone().unwrap_or_else(|| "0:0".into()),
            secrets: !request.secrets.files.is_empty(),
            volumes,
        }
    }

    fn host_config(&self, shared_memory: Option<i64>) -> HostConfig {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let memory = self.memory.map(bytes);
        let volume = |(name, target): &(String, String)| Mount {
            target: Some(target.clone()),
            source: Some(name.clone()),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        };
        HostConfig {
            memory,
            // Without this as much again of swap is allowed.
            memory_swap: memory,
            #[expect(clippy::cast_possible_truncation, reason = "a number of processors")]
            nano_cpus: self.cpus.map(|cpus| (cpus * 1e9) as i64),
            pids_limit: self.pids.map(bytes),
            network_mode: self.network.clone(),
            // What a command says is streamed, and must not be stored with the engine as well.
            log_config: Some(no_log()),
            tmpfs: self.secrets.then(|| {
                let options = "rw,nosuid,nodev,noexec,mode=1777,size=16m";
                HashMap::from([(SECRETS_DIR.to_owned(), options.to_owned())])
            }),
            mounts: Some(self.volumes.iter().map(volume).collect()),
            shm_size: self.memory.map(bytes).or(shared_memory),
            ..HostConfig::default()
        }
    }
}

/// The engine is to keep nothing of what a container says.
pub(super) fn no_log() -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("none".into()),
        config: None,
    }
}

/// A container that was made for a machine. It holds what the machine wrote since its image.
#[derive(Debug)]
pub(super) struct Container {
    pub id: String,
    pub shape: Shape,
    /// Whether the machine's own command runs.
    running: watch::Sender<bool>,
    shared: Arc<Shared>,
}

impl Drop for Container {
    /// It goes with the last that needs it. Nobody waits for the engine, which may still be busy with it.
    fn drop(&mut self) {
        self.shared.discard(std::mem::take(&mut self.id));
    }
}

impl Container {
    /// Makes one; nothing runs in it yet. Nothing: the image is gone.
    pub(super) async fn create(
        shared: &Arc<Shared>,
        image: &str,
        shape: &Shape,
    ) -> Result<Option<Arc<Self>>> {
        let made = Self::made(shared.clone(), image.to_owned(), shape.clone());
        shared.to_its_end(made).await
    }

    async fn made(shared: Arc<Shared>, image: String, shape: Shape) -> Result<Option<Arc<Self>>> {
        let docker = shared.docker().await?;
        let id = Uuid::now_v7().simple().to_string();
        let body = ContainerCreateBody {
            image: Some(image),
            entrypoint: Some(script::main_program()),
            cmd: Some(Vec::new()),
            user: Some(shape.user.clone()),
            working_dir: Some("/".into()),
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            // A step is no service: the image's own health check would run beside it.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".into()]),
                ..HealthConfig::default()
            }),
            labels: Some(shared.labels(MACHINE, &id).await?),
            host_config: Some(shape.host_config(shared.shared_memory().await)),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptions {
            name: Some(format!("hm-{id}")),
            ..CreateContainerOptions::default()
        };
        let created = match docker.create_container(Some(options), body).await {
            Ok(created) => created,
            Err(error) if status(&error) == Some(404) && error.to_string().contains("image") => {
                return Ok(None);
            }
            Err(error) => return Err(failed("cannot make the step's container")(error)),
        };
        let container = Arc::new(Self {
            id: created.id,
            shape,
            running: watch::Sender::new(false),
            shared: shared.clone(),
        });
        if container.shape.secrets && container.shape.user != "0:0" {
            open_secrets(&shared, &container.id).await?;
        }
        Ok(Some(container))
    }

    /// Where its cache directories lie.
    pub(super) fn caches(&self) -> impl Iterator<Item = &str> {
        let volumes = self.shape.volumes.iter().map(|(_, target)| target.as_str());
        volumes.filter(|target| !target.starts_with("/dev/"))
    }

    pub(super) fn is_running(&self) -> bool {
        *self.running.borrow()
    }

    pub(super) fn set_running(&self, running: bool) {
        self.running.send_replace(running);
    }

    /// Resolves when the machine's own command has ended.
    pub(super) async fn ended(&self) {
        // The sender is here: it cannot fail.
        let _ = self.running.subscribe().wait_for(|running| !running).await;
    }

    /// All that the engine says of it, nothing when it is gone.
    async fn inspected(&self, shared: &Shared) -> Result<Value> {
        let inspected = shared.ask(&format!("/containers/{}/json", self.id)).await?;
        Ok(inspected.unwrap_or_default())
    }

    /// The directory of this machine that holds what was written in it, where the engine has one.
    pub(super) async fn upper(&self, shared: &Shared) -> Result<Option<PathBuf>> {
        let inspected = self.inspected(shared).await?;
        let driver = inspected.pointer("/GraphDriver/Name").and_then(Value::as_str);
        let upper = inspected
            .pointer("/GraphDriver/Data/UpperDir")
            .and_then(Value::as_str);
        let is_overlay = driver.is_some_and(|driver| driver.starts_with("overlay"));
        Ok(upper.filter(|_| is_overlay).map(PathBuf::from))
    }

    /// Whether the engine says that it runs.
    pub(super) async fn still_runs(&self, shared: &Shared) -> Result<bool> {
        let inspected = self.inspected(shared).await?;
        Ok(inspected.pointer("/State/Running") == Some(&Value::Bool(true)))
    }

    /// Whether the kernel ended something in it for want of memory.
    pub(super) async fn ran_out_of_memory(&self, shared: &Shared) -> Result<bool> {
        let inspected = self.inspected(shared).await?;
        Ok(inspected.pointer("/State/OOMKilled") == Some(&Value::Bool(true)))
    }

    /// Ends all that runs in it; false when it had ended before.
    pub(super) async fn kill(&self, shared: &Shared) -> Result<bool> {
        let docker = shared.docker().await?;
        match docker
            .kill_container(&self.id, None::<bollard::query_parameters::KillContainerOptions>)
            .await
        {
            // It has ended, or is gone.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(false),
            // Podman has no status of its own for one that ends at this moment.
            Err(_) if !self.still_runs(shared).await? => Ok(false),
            killed => killed
                .map(|()| true)
                .map_err(failed("cannot end the step's container")),
        }
    }
}

/// Lets any user write below the mount point of secrets: the engine gives the tmpfs there the directory's own mode.
async fn open_secrets(shared: &Shared, container: &str) -> Result<()> {
    let docker = shared.docker().await?;
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o1777);
    header.set_size(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive
        .append_data(&mut header, SECRETS_DIR.trim_start_matches('/'), std::io::empty())
        .and_then(|()| archive.finish())
        .map_err(VmError::io("cannot make", SECRETS_DIR))?;
    let archive = archive
        .into_inner()
        .map_err(VmError::io("cannot make", SECRETS_DIR))?;
    let options = UploadToContainerOptions {
        path: "/".into(),
        ..UploadToContainerOptions::default()
    };
    docker
        .upload_to_container(container, Some(options), bollard::body_full(archive.into()))
        .await
        .map_err(failed("cannot make room for secrets"))
}

/// What the engine says when a command could not be started is the image's doing or the request's.
pub(super) fn not_started(error: bollard::errors::Error) -> VmError {
    let VmError::Other(said) = failed("the engine cannot start it")(error) else {
        return VmError::Setup("the engine cannot start it".into());
    };
    VmError::Setup(said)
}

/// Whether a container cannot start for want of a shell.
pub(super) fn no_shell(error: &bollard::errors::Error) -> bool {
    let said = error.to_string();
    let missing = said.contains("executable file not found") || said.contains("no such file or directory");
    missing && (said.contains("\"sh\"") || said.contains("`sh`"))
}
