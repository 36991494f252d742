//! The way to the engine, and what is said when there is none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::SystemInfo;
use bollard::{ClientVersion, Docker};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use hm_vm::{Result, VmError};

/// Where Docker listens when nobody says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// Until an engine takes a connection; one that is there does at once.
const CONNECT: Duration = Duration::from_secs(2);

/// Until an engine that took a connection says what it is.
const ANSWER: Duration = Duration::from_secs(10);

/// A command may run for as long as it likes, and the engine answers when it has ended.
const ENDLESS: u64 = 365 * 24 * 3600;

/// Docker 19.03 and Podman 3 speak it.
const OLDEST: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 40,
};

/// Bytes that must be free where the engine keeps its images.
const FREE: u64 = 64 << 20;

/// Connects, and finds out which version of the API both sides speak.
pub(super) async fn connect(host: Option<&str>) -> Result<Docker> {
    let host = host.unwrap_or(DEFAULT_HOST);
    let unavailable = |reason: String| VmError::Unsupported {
        what: "the Docker engine".into(),
        reason,
    };
    knock(host).await.map_err(unavailable)?;
    let docker = if let Some(path) = socket(host) {
        Docker::connect_with_unix(&path.to_string_lossy(), ENDLESS, bollard::API_DEFAULT_VERSION)
    } else {
        let address = host.replacen("tcp://", "http://", 1);
        Docker::connect_with_http(&address, ENDLESS, bollard::API_DEFAULT_VERSION)
    };
    let docker = docker.map_err(|error| unavailable(format!("{host}: {error}")))?;
    let docker = tokio::time::timeout(ANSWER, docker.negotiate_version())
        .await
        .map_err(|_| {
            unavailable(format!(
                "{host} took the connection and says nothing; restart the engine"
            ))
        })?
        .map_err(|error| unavailable(format!("{host} is no Docker engine: {error}")))?;
    if docker.client_version() < OLDEST {
        return Err(unavailable(format!(
            "the one at {host} speaks version {} of the API, and {OLDEST} is the oldest that hm can use; \
             update it to Docker 19.03 or Podman 3 or later",
            docker.client_version()
        )));
    }
    Ok(docker)
}

/// The path of a Unix socket.
fn socket(host: &str) -> Option<PathBuf> {
    let path = host
        .strip_prefix("unix://")
        .or_else(|| host.starts_with('/').then_some(host))?;
    Some(PathBuf::from(path))
}

/// The host and port of an engine that is reached over TCP.
fn address(host: &str) -> Option<String> {
    let address = host
        .strip_prefix("tcp://")
        .or_else(|| host.strip_prefix("http://"))?;
    let address = address.trim_end_matches('/');
    Some(match address.rsplit_once(':') {
        Some((_, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            address.to_owned()
        }
        _ => format!("{address}:2375"),
    })
}

/// Whether anybody is there at all: the errors of a plain connection say why not.
async fn knock(host: &str) -> std::result::Result<(), String> {
    let none = |why: &str| {
        format!(
            "{host}: {why}; start it (`systemctl start docker`, Docker Desktop, `podman system service`), \
             or say where another one is with DOCKER_HOST"
        )
    };
    let connected = if let Some(path) = socket(host) {
        let connected = tokio::time::timeout(CONNECT, tokio::net::UnixStream::connect(&path)).await;
        match connected {
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(denied(&path));
            }
            connected => connected.map(|connected| connected.map(drop)),
        }
    } else if let Some(address) = address(host) {
        let connected = tokio::time::timeout(CONNECT, tokio::net::TcpStream::connect(address)).await;
        connected.map(|connected| connected.map(drop))
    } else {
        return Err(format!(
            "`{host}` is no address that hm can use: it is unix:///path/to/socket or tcp://host:port \
             (for an engine behind SSH, forward its socket with `ssh -L`)"
        ));
    };
    match connected {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(none("there is no such socket, so no engine runs"))
        }
        Ok(Err(error)) => Err(none(&error.to_string())),
        Err(_) => Err(none("nobody answers")),
    }
}

/// Either way to an engine.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A connection of its own, for what the client crate does not know.
pub(super) async fn open(host: Option<&str>) -> std::io::Result<Box<dyn Connection>> {
    let host = host.unwrap_or(DEFAULT_HOST);
    match (socket(host), address(host)) {
        (Some(path), _) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
        (None, Some(address)) => Ok(Box::new(tokio::net::TcpStream::connect(address).await?)),
        (None, None) => Err(std::io::ErrorKind::InvalidInput.into()),
    }
}

/// Asks for something that the client crate reads in one engine's form alone, which others word otherwise: Podman's
/// containers have states that Docker's do not know. Nothing: it is not there.
pub(super) async fn ask(docker: &Docker, host: Option<&str>, path: &str) -> std::io::Result<Option<Value>> {
    let mut stream = open(host).await?;
    let version = docker.client_version();
    let request = format!("GET /v{version}{path} HTTP/1.0\r\nHost: docker\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let parts = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .and_then(|end| Some((answer.get(..end)?, answer.get(end + 4..)?)));
    let Some((head, body)) = parts else {
        return Err(std::io::Error::other("the engine's answer was cut off"));
    };
    let head = String::from_utf8_lossy(head);
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(Some(serde_json::from_slice(body)?)),
        Some("404") => Ok(None),
        _ => Err(std::io::Error::other(
            String::from_utf8_lossy(body).trim().to_owned(),
        )),
    }
}

/// Which group would help.
fn denied(socket: &Path) -> String {
    use std::os::unix::fs::MetadataExt;

    let group = std::fs::metadata(socket).ok().map(|metadata| metadata.gid());
    let named = group.and_then(|gid| {
        let groups = std::fs::read_to_string("/etc/group").ok()?;
        groups.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, id) = (fields.next()?, fields.nth(1)?);
            (id == gid.to_string()).then(|| name.to_owned())
        })
    });
    let group = named
        .or_else(|| group.map(|gid| gid.to_string()))
        .unwrap_or_else(|| "docker".into());
    format!(
        "you may not open {}, which is for the group `{group}`: join it (`sudo usermod -aG {group} \"$USER\"`, then \
         log in again), or use a rootless engine",
        socket.display()
    )
}

/// Whether the engine's disk has room, where that can be seen from here.
pub(super) fn refuse_full(info: &SystemInfo) -> Result<()> {
    let Some(root) = &info.docker_root_dir else {
        return Ok(());
    };
    let Ok(disk) = rustix::fs::statvfs(Path::new(root)) else {
        return Ok(());
    };
    let free = disk.f_bavail * disk.f_frsize;
    if free < FREE {
        return Err(VmError::Unsupported {
            what: "the Docker engine".into(),
            reason: format!(
                "its disk is full ({free} bytes are free in {root}); free some with `hm cache clean` or \
                 `docker system prune`"
            ),
        });
    }
    Ok(())
}

/// Whether the engine is Podman, which does some things otherwise.
pub(super) async fn is_podman(docker: &Docker) -> Result<bool> {
    let version = docker
        .version()
        .await
        .map_err(failed("cannot ask the engine about itself"))?;
    let mut components = version.components.into_iter().flatten();
    Ok(components.any(|component| component.name.contains("Podman")))
}

/// An engine that was there before and is no more.
pub(super) fn gone(when: &str) -> VmError {
    VmError::Other(format!(
        "the engine went away {when}: start it again (`systemctl status docker` and its log say why it ended), then run \
         again"
    ))
}

/// Whether the connection broke, or none could be made.
fn is_disconnected(error: &Error) -> bool {
    matches!(
        error,
        Error::IOError { .. } | Error::HyperResponseError { .. } | Error::HttpClientError { .. }
    )
}

/// Wraps the engine's error with what was being done.
pub(super) fn failed(action: impl Into<String>) -> impl FnOnce(Error) -> VmError {
    let action = action.into();
    move |error| {
        if is_disconnected(&error) {
            tracing::debug!(%error, "the connection to the engine");
            return VmError::Other(format!("{action}: {}", gone("meanwhile")));
        }
        let mut said = match error {
            Error::DockerResponseServerError { message, .. } => message,
            Error::DockerStreamError { error } => error,
            other => other.to_string(),
        };
        if said.contains("no space left on device") {
            said += "; free some with `hm cache clean` or `docker system prune`";
        }
        VmError::Other(format!("{action}: {said}"))
    }
}

/// The HTTP status that the engine answered with.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Takes "it is not there" for an answer.
pub(super) fn found<T>(result: std::result::Result<T, Error>) -> std::result::Result<Option<T>, Error> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if status(&error) == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_open_a_socket_is_told_its_group() {
        let words = denied(Path::new("/etc/passwd"));
        assert!(words.contains("the group `root`"), "{words}");
        assert!(denied(Path::new("/no/such/socket")).contains("the group `docker`"));
    }

    #[test]
    fn an_address_has_a_port() {
        for (host, expected) in [
            ("tcp://box:2376", Some("box:2376")),
            ("tcp://box", Some("box:2375")),
            ("http://[::1]:1/", Some("[::1]:1")),
            ("unix:///run/docker.sock", None),
        ] {
            assert_eq!(address(host).as_deref(), expected, "{host}");
        }
    }
}
