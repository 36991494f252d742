//! Where Docker's engine, or one that speaks its API, listens.

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::credentials::{AuthFile, docker_directory};
use crate::env_vars;
use crate::environment::Environment;

/// How long a machine on the network may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// An engine that may or may not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Where it listens: `unix:///run/docker.sock`, `tcp://host:2375`.
    pub host: String,
    /// Who says so.
    pub from: String,
}

impl Engine {
    /// Whether somebody listens there.
    #[must_use]
    pub fn listens(&self) -> bool {
        if let Some(path) = self.host.strip_prefix("unix://") {
            return UnixStream::connect(path).is_ok();
        }
        let authority = self.host.split_once("://").map_or(&*self.host, |(_, rest)| rest);
        let authority = authority.trim_end_matches('/');
        authority.to_socket_addrs().is_ok_and(|mut addresses| {
            addresses.any(|address| TcpStream::connect_timeout(&address, PATIENCE).is_ok())
        })
    }
}

/// The engine that the configuration or Docker's context names, or else the first that listens at a usual place.
#[must_use]
pub fn find_engine(environment: &Environment, config: &Config) -> Option<Engine> {
    if let Some(host) = &config.docker_host {
        return Some(Engine {
            host: host.clone(),
            from: "docker.host".into(),
        });
    }
    if let Some(engine) = of_context(environment) {
        return Some(engine);
    }
    let there = usual_sockets(environment)
        .into_iter()
        .filter(|path| path.exists())
        .map(|path| Engine {
            host: format!("unix://{}", path.display()),
            from: "the socket is there".into(),
        });
    let there: Vec<Engine> = there.collect();
    // One that refuses us may be all that there is; what it says then helps.
    let listening = there.iter().find(|engine| engine.listens());
    listening.or_else(|| there.first()).cloned()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextFile {
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    host: String,
}

/// What `docker context use` has chosen: Colima, OrbStack and Docker Desktop each make one.
fn of_context(environment: &Environment) -> Option<Engine> {
    let directory = docker_directory(environment)?;
    let name = match environment.get(env_vars::DOCKER_CONTEXT) {
        Some(name) => name.to_owned(),
        // A file that cannot be read is told where its credentials are wanted.
        None => AuthFile::read(&directory.join("config.json")).ok()??.context?,
    };
    if name.is_empty() || name == "default" {
        return None;
    }
    let text = std::fs::read(context_file(&directory, &name)).ok()?;
    let file: ContextFile = serde_json::from_slice(&text).ok()?;
    Some(Engine {
        host: file.endpoints.docker.host,
        from: format!("Docker's context {name}"),
    })
}

fn context_file(directory: &Path, name: &str) -> PathBuf {
    let hash: String = Sha256::digest(name.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    directory.join("contexts/meta").join(hash).join("meta.json")
}

/// Docker's sockets, then Podman's.
fn usual_sockets(environment: &Environment) -> Vec<PathBuf> {
    let below = |base: Option<PathBuf>, paths: &[&str]| -> Vec<PathBuf> {
        base.map(|base| paths.iter().map(|path| base.join(path)).collect())
            .unwrap_or_default()
    };
    let runtime = environment.get(env_vars::XDG_RUNTIME_DIR).map(PathBuf::from);
    let mut sockets = vec![PathBuf::from("/var/run/docker.sock")];
    sockets.extend(below(runtime.clone(), &["docker.sock"]));
    sockets.extend(below(
        environment.home(),
        &[
            ".docker/run/docker.sock",
            ".docker/desktop/docker.sock",
            ".orbstack/run/docker.sock",
            ".colima/default/docker.sock",
            ".rd/docker.sock",
        ],
    ));
    sockets.extend(below(runtime, &["podman/podman.sock"]));
    sockets.push(PathBuf::from("/run/podman/podman.sock"));
    sockets
}
