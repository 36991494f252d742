//! From what a caller asks for to what the supervisor is told.

use super::caches::CacheViews;
use super::hidden::Hidden;
use super::images::Image;
use super::protocol::{Overlay, Spawn};
use super::roots::MountedRoot;
use super::shared::Shared;
use hm_vm::{ExecRequest, Result, SecretValue, VmError};

/// The order to run a command in a root.
pub(super) fn order(
    shared: &Shared,
    image: &Image,
    root: &MountedRoot,
    request: &ExecRequest,
    caches: Option<&CacheViews>,
) -> Result<Spawn> {
    let pod = request.pod.as_ref();
    let pod = pod
        .map(|pod| shared.pods.find(pod, &root.supervisor))
        .transpose()?;
    let pairs = |variables: &std::collections::BTreeMap<String, String>| {
        let pairs = variables.iter();
        pairs.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let hidden = |(name, value): (&String, &SecretValue)| (name.clone(), Hidden(value.clone()));
    request.secrets.env.iter().try_for_each(check_variable)?;
    request
        .secrets
        .files
        .keys()
        .try_for_each(|name| check_file(name))?;
    Ok(Spawn {
        root: root.id,
        argv: request.argv.clone(),
        defaults: pairs(&image.env),
        env: pairs(&request.env),
        cwd: request.cwd.clone(),
        network: request.network,
        pod,
        user: request.user.clone(),
        secrets: request.secrets.env.iter().map(hidden).collect(),
        secret_files: request.secrets.files.iter().map(hidden).collect(),
        caches: caches.map(|caches| overlays(shared, caches)).unwrap_or_default(),
        limits: request.limits.clone(),
        nested: shared.config.nested,
        terminal: false,
    })
}

fn overlays(shared: &Shared, caches: &CacheViews) -> Vec<Overlay> {
    let empty = shared.layers.root().join("empty");
    let short = |path: &std::path::Path| shared.supervision.short(path);
    let overlay = |cache: super::caches::CacheOverlay<'_>| Overlay {
        target: cache.target.to_owned(),
        lower: vec![short(cache.lower.unwrap_or(&empty))],
        upper: short(&cache.upper),
        work: short(&cache.work),
    };
    caches.overlays().map(overlay).collect()
}

fn check_variable((name, value): (&String, &SecretValue)) -> Result<()> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(VmError::Setup(format!("`{name}` is no name of a variable")));
    }
    if value.expose().contains(&0) {
        return Err(VmError::Setup(format!(
            "the secret in the variable {name} has a byte of zero in it, which no variable can have: give it as a file"
        )));
    }
    Ok(())
}

fn check_file(name: &str) -> Result<()> {
    if name.is_empty() || name.contains(['/', '\0']) || matches!(name, "." | "..") || name.len() > 255 {
        return Err(VmError::Setup(format!("`{name}` is no name of a secret's file")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none_are_refused() {
        let value = SecretValue::new("value");
        for name in ["", "A=B", "A\0"] {
            assert!(check_variable((&name.to_owned(), &value)).is_err(), "{name:?}");
        }
        for name in ["", ".", "..", "a/b", "/etc/passwd", "a\0"] {
            assert!(check_file(name).is_err(), "{name:?}");
        }
        assert!(check_file(".netrc").is_ok());
        let error = check_variable((&"TOKEN".to_owned(), &SecretValue::new(b"pa\0ssw0rd".to_vec())));
        let error = error.expect_err("a byte of zero").to_string();
        assert!(error.contains("TOKEN") && !error.contains("ssw0rd"), "{error}");
    }
}
