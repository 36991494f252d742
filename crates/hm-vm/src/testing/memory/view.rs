//! What one command of the in-memory double sees beside its machine's files: cache directories and secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use super::state::{Files, MemoryBackend};
use crate::{CacheKeep, ExecOutcome, ExecRequest, SECRETS_DIR};

#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) request: &'a ExecRequest,
    /// The request's variables and its secret ones.
    pub(super) env: BTreeMap<String, String>,
    caches: Mutex<Vec<Cache>>,
}

/// A cache directory as it was when the command began, and what it wrote since.
#[derive(Debug)]
struct Cache {
    name: String,
    path: PathBuf,
    keep: CacheKeep,
    before: Arc<Files>,
    written: Files,
}

impl<'a> View<'a> {
    pub(super) fn new(backend: &MemoryBackend, request: &'a ExecRequest) -> Self {
        let mut env = request.env.clone();
        for (name, value) in &request.secrets.env {
            let value = String::from_utf8_lossy(value.expose()).into_owned();
            env.insert(name.clone(), value);
        }
        env.entry("HOME".into()).or_insert_with(|| "/root".into());
        let home = Path::new(&env["HOME"]);
        let mut state = backend.lock();
        let caches = request.caches.iter().map(|mount| {
            let (before, used) = state
                .caches
                .entry(mount.name.clone())
                .or_insert_with(|| (Arc::default(), SystemTime::now()));
            *used = SystemTime::now();
            Cache {
                name: mount.name.clone(),
                path: match mount.path.strip_prefix("~") {
                    Ok(inside) => home.join(inside),
                    Err(_) => mount.path.clone(),
                },
                keep: mount.keep,
                before: before.clone(),
                written: Files::new(),
            }
        });
        let caches = Mutex::new(caches.collect());
        Self { request, env, caches }
    }

    /// A path as the command means it.
    pub(super) fn absolute(&self, path: &str) -> PathBuf {
        self.request.cwd.join(path)
    }

    /// What a cache directory or a secret has there; `None` where the machine's own files are.
    pub(super) fn read(&self, path: &Path) -> Option<Option<Bytes>> {
        if let Ok(name) = path.strip_prefix(SECRETS_DIR) {
            let secret = name
                .to_str()
                .and_then(|name| self.request.secrets.files.get(name));
            return secret.map(|secret| Some(Bytes::copy_from_slice(secret.expose())));
        }
        let caches = self.caches();
        let (cache, inside) = find(&caches, path)?;
        let found = cache.written.get(inside).or_else(|| cache.before.get(inside));
        Some(found.cloned().flatten())
    }

    /// Whether it was a cache directory's file, which is written now.
    pub(super) fn write(&self, path: &Path, content: Option<&Bytes>) -> bool {
        let mut caches = self.caches();
        let Some((index, inside)) = caches
            .iter()
            .enumerate()
            .find_map(|(index, cache)| Some((index, path.strip_prefix(&cache.path).ok()?.to_owned())))
        else {
            return false;
        };
        caches[index].written.insert(inside, content.cloned());
        true
    }

    /// Keeps what a command wrote that ended so, where that says so.
    pub(super) fn keep(&self, backend: &MemoryBackend, outcome: &ExecOutcome) {
        let mut state = backend.lock();
        let caches = self.caches();
        let kept = caches.iter().filter(|cache| cache.keep.keeps(outcome));
        for cache in kept.filter(|cache| !cache.written.is_empty()) {
            let (files, _) = state
                .caches
                .entry(cache.name.clone())
                .or_insert_with(|| (Arc::default(), SystemTime::now()));
            let files = Arc::make_mut(files);
            for (path, content) in &cache.written {
                match content {
                    Some(content) => files.insert(path.clone(), Some(content.clone())),
                    None => files.remove(path),
                };
            }
        }
    }

    fn caches(&self) -> MutexGuard<'_, Vec<Cache>> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find<'a, 'p>(caches: &'a [Cache], path: &'p Path) -> Option<(&'a Cache, &'p Path)> {
    caches
        .iter()
        .find_map(|cache| Some((cache, path.strip_prefix(&cache.path).ok()?)))
}
