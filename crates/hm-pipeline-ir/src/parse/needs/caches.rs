//! `caches`.

use super::{Field, MAX_PATH_BYTES, has_parent};
use crate::parse::json;
use crate::parse::wire::WireCache;
use crate::{CacheDirectory, CacheKeep, PlanError, StepKey};

const MAX_NAME_BYTES: usize = 128;

/// Where a relative path begins.
const WORKSPACE: &str = "/workspace";

/// What hm or the kernel mounts, and must not be hidden, nor anything that these are in.
const RESERVED: [&str; 5] = [WORKSPACE, "/run/secrets", "/proc", "/sys", "/dev"];

pub fn caches(step: &StepKey, wire: Vec<WireCache>) -> Result<Vec<CacheDirectory>, PlanError> {
    let field = Field { step, name: "caches" };
    field.check_count(wire.len())?;
    let mut caches: Vec<CacheDirectory> = Vec::with_capacity(wire.len());
    for wire in wire {
        let cache = cache(field, wire)?;
        for other in &caches {
            let reason = if other.name == cache.name {
                format!("two cache directories are called `{}`", cache.name)
            } else if is_in(&absolute(&cache.path), &absolute(&other.path))
                || is_in(&absolute(&other.path), &absolute(&cache.path))
            {
                format!(
                    "the cache directories `{}` and `{}` are one within the other: `{}` and `{}`",
                    other.name, cache.name, other.path, cache.path
                )
            } else {
                continue;
            };
            return Err(field.bad(reason));
        }
        caches.push(cache);
    }
    Ok(caches)
}

fn cache(field: Field<'_>, wire: WireCache) -> Result<CacheDirectory, PlanError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = &wire.name;
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.starts_with('.') || !name.chars().all(plain) {
        return Err(field.bad(format!(
            "{:?} is no name of a cache directory: it has up to {MAX_NAME_BYTES} letters, digits, `-`, `_` and `.`, and does \
             not begin with `.`",
            json::cut(name)
        )));
    }
    if let Some(reason) = wrong_path(&wire.path) {
        return Err(field.bad(format!(
            "the cache directory `{name}` is at {:?}, which {reason}",
            json::cut(&wire.path)
        )));
    }
    let keep = match wire.keep.as_deref() {
        None | Some("passed") => CacheKeep::Passed,
        Some("always") => CacheKeep::Always,
        Some(other) => {
            return Err(field.bad(format!(
                "the cache directory `{name}` has the `keep` {:?}: it is \"passed\" or \"always\"",
                json::cut(other)
            )));
        }
    };
    Ok(CacheDirectory {
        path: normal(&wire.path),
        keep,
        name: wire.name,
    })
}

fn wrong_path(path: &str) -> Option<String> {
    let reason = if path.is_empty() {
        "is empty"
    } else if path.len() > MAX_PATH_BYTES {
        "is longer than a path may be"
    } else if path.chars().any(char::is_control) {
        "contains a control character"
    } else if has_parent(path) {
        "contains `..`"
    } else if path.starts_with('~') && !path.starts_with("~/") {
        "begins with `~` but not with `~/`: the home that it means is that of the step's own user"
    } else {
        let path = absolute(&normal(path));
        if path == "~" {
            return Some("is the home directory itself: name a directory in it".to_owned());
        }
        // In the workspace is where caches may well be.
        let mounted = RESERVED
            .iter()
            .find(|mounted| is_in(mounted, &path) || **mounted != WORKSPACE && is_in(&path, mounted))?;
        return Some(format!("would hide or change {mounted}"));
    };
    Some(reason.to_owned())
}

/// The path without what says nothing: `./`, `//`, a `/` at the end.
fn normal(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

/// The path as the step sees it, but for what its home is.
fn absolute(path: &str) -> String {
    if path.starts_with(['/', '~']) {
        path.to_owned()
    } else {
        normal(&format!("{WORKSPACE}/{path}"))
    }
}

/// Whether one path is the other or lies in it.
fn is_in(path: &str, directory: &str) -> bool {
    directory == "/"
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
