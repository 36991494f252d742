//! Files that leave a machine, out of an archive that nobody trusts: a name in it is compared, and where a file is
//! written is put together from names that are none but names.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bollard::query_parameters::{ContainerArchiveInfoOptions, DownloadFromContainerOptions};
use tar::EntryType;

use super::engine::failed;
use super::shared::Shared;
use super::stream;
use hm_vm::patterns::{Budget, Patterns};
use hm_vm::{Export, Exported, Result, VmError, WORKSPACE};

/// The bit of a symbolic link in the modes that the engine tells. Podman tells a target of what is none, too.
const SYMLINK: u32 = 1 << 27;

/// Copies what matches out of a container.
pub(super) async fn export(shared: &Shared, container: &str, what: &Export, into: &Path) -> Result<Exported> {
    let patterns = Arc::new(Patterns::compile(&what.patterns)?);
    let mut found = BTreeMap::new();
    let roots = roots(shared, container, &patterns).await?;
    for root in &roots {
        let patterns = patterns.clone();
        let listed = read(shared, container, root, move |archive, root| {
            list(archive, root, &patterns)
        })
        .await?;
        found.extend(listed);
    }
    let mut budget = Budget::new(what);
    let mut admitted = BTreeSet::new();
    for (path, kind) in &found {
        match kind {
            Found::File(bytes) => {
                if budget.admit(path, *bytes) {
                    admitted.insert(path.clone());
                }
            }
            Found::Other(kind) => budget.leave_out(path, kind),
        }
    }
    let admitted = Arc::new(admitted);
    for root in roots
        .iter()
        .filter(|root| admitted.iter().any(|path| path.starts_with(root)))
    {
        let (admitted, into) = (admitted.clone(), into.to_owned());
        read(shared, container, root, move |archive, root| {
            copy(archive, root, &admitted, &into)
        })
        .await?;
    }
    Ok(budget.finish())
}

/// The directories or files that hold all that can match. The engine follows a link in a name that it is asked for:
/// what lies behind one is not asked for.
async fn roots(shared: &Shared, container: &str, patterns: &Patterns) -> Result<Vec<PathBuf>> {
    let docker = shared.docker().await?;
    let mut roots: BTreeSet<PathBuf> = BTreeSet::new();
    'prefixes: for prefix in patterns.prefixes() {
        let mut path = PathBuf::new();
        let parts: Vec<_> = Path::new(prefix).components().collect();
        let mut asked = vec![PathBuf::new()];
        for part in &parts {
            path.push(part);
            asked.push(path.clone());
        }
        for (number, path) in asked.iter().enumerate() {
            let Some(name) = Path::new(WORKSPACE).join(path).to_str().map(ToOwned::to_owned) else {
                continue 'prefixes;
            };
            let options = ContainerArchiveInfoOptions { path: name };
            let stat = docker.get_container_archive_info(container, Some(options)).await;
            let stat = super::engine::found(stat).map_err(failed("cannot look at the step's files"))?;
            let Some(stat) = stat else { continue 'prefixes };
            if stat.file_mode & SYMLINK != 0 && number + 1 < asked.len() {
                continue 'prefixes;
            }
        }
        roots.insert(path);
    }
    // One that lies in another is read with it.
    let all: Vec<_> = roots.iter().cloned().collect();
    roots.retain(|root| !all.iter().any(|other| other != root && root.starts_with(other)));
    Ok(roots.into_iter().collect())
}

/// Reads the archive of a path of the workspace.
async fn read<T: Send + 'static>(
    shared: &Shared,
    container: &str,
    root: &Path,
    take: impl FnOnce(&mut tar::Archive<stream::Incoming>, &Path) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let docker = shared.docker().await?.clone();
    let path = Path::new(WORKSPACE).join(root);
    let options = DownloadFromContainerOptions {
        path: path.to_string_lossy().into_owned(),
    };
    let archive = docker.download_from_container(container, Some(options));
    let (archive, _flow) = stream::readable(archive);
    let root = root.to_owned();
    let taken = tokio::task::spawn_blocking(move || take(&mut tar::Archive::new(archive), &root)).await;
    taken
        .map_err(|error| VmError::Other(format!("cannot copy files out of the step: {error}")))?
        .map_err(VmError::io("cannot copy out of the step", path))
}

enum Found {
    File(u64),
    Other(&'static str),
}

/// Where an entry is in the workspace: its archive begins with the last part of what was asked for.
fn place(root: &Path, name: &[u8]) -> Option<PathBuf> {
    let name = Path::new(OsStr::from_bytes(name));
    let mut parts = name
        .components()
        .filter(|part| !matches!(part, Component::CurDir));
    parts.next()?;
    let mut place = root.to_owned();
    for part in parts {
        let Component::Normal(part) = part else {
            return None;
        };
        place.push(part);
    }
    Some(place)
}

fn list(
    archive: &mut tar::Archive<stream::Incoming>,
    root: &Path,
    patterns: &Patterns,
) -> io::Result<BTreeMap<PathBuf, Found>> {
    let mut listed = BTreeMap::new();
    let mut sizes: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path_bytes().into_owned();
        let Some(path) = place(root, &name) else { continue };
        let kind = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                sizes.insert(name, entry.size());
                Found::File(entry.size())
            }
            // A name of a file that came before.
            EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                match sizes.get(&target) {
                    Some(size) => Found::File(*size),
                    None => Found::Other("it is a hard link to what is not copied"),
                }
            }
            EntryType::Directory => continue,
            EntryType::Symlink => Found::Other("it is a symbolic link"),
            _ => Found::Other("it is no regular file"),
        };
        if patterns.take(&path) {
            listed.insert(path, kind);
        }
    }
    Ok(listed)
}

fn copy(
    archive: &mut tar::Archive<stream::Incoming>,
    root: &Path,
    admitted: &BTreeSet<PathBuf>,
    into: &Path,
) -> io::Result<()> {
    let mut places: BTreeMap<Vec<u8>, PathBuf> = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path_bytes().into_owned();
        let Some(path) = place(root, &name) else { continue };
        if !admitted.contains(&path) {
            continue;
        }
        let to = into.join(&path);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match entry.header().entry_type() {
            EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                match places.get(&target) {
                    Some(from) => drop(std::fs::copy(from, &to)?),
                    None => return Err(io::Error::other("a hard link's file is left out; name both")),
                }
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let mut file = File::create_new(&to)?;
                io::copy(&mut entry.by_ref(), &mut file)?;
                places.insert(name, to);
            }
            _ => {}
        }
    }
    Ok(())
}
