//! How a build runs: as its submitter asked for it, within what the agent's own settings say.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use harmont_client::models::{BuildOptions, StepNetwork};
use hm_exec::{Resume, RunOptions};
use hm_plugin_protocol::executor::SnapshotRef;
use hm_vm::{ImageReference, Limits, Network, PlanPaths};
use serde_json::Value;

/// The longest grace that a build may ask for.
const MOST_GRACE: Duration = Duration::from_secs(3600);

/// The options of a lease, over a source that is unpacked in `tree`. The limits and the network of `own` bound what is asked
/// for; its images, and what an artifact may have, hold where nothing is. The words of an error are for the build's log.
pub(super) fn run_options(asked: &Value, own: &RunOptions, tree: &Path) -> Result<RunOptions, String> {
    let asked: BuildOptions = match asked {
        Value::Null => BuildOptions::default(),
        asked => serde_json::from_value(asked.clone()).map_err(|error| {
            format!("this agent does not know how to run the build ({error}): update the agent")
        })?,
    };
    let mut images = own.images.clone();
    for (name, target) in asked.images {
        let target = ImageReference::new(target);
        if target.is_path() {
            return Err(format!(
                "image {target} of the build's options is a path: it would be one of this agent's own"
            ));
        }
        images.insert(ImageReference::new(name), target);
    }
    if let Some(snapshot) = asked.done.values().find(|name| !is_snapshot(name)) {
        return Err(format!(
            "`{snapshot}` of the build's options is no snapshot's name"
        ));
    }
    let done: BTreeMap<_, _> = asked
        .done
        .into_iter()
        .map(|(key, snapshot)| (key, SnapshotRef(snapshot)))
        .collect();
    let limits = asked.limits;
    Ok(RunOptions {
        no_cache: asked.no_cache,
        timeout: asked.timeout_ms.map(|most| Duration::from_millis(most.get())),
        grace: asked
            .grace_ms
            .map_or(own.grace, |most| Duration::from_millis(most).min(MOST_GRACE)),
        keep_going: asked.keep_going,
        parallelism: asked
            .parallelism
            .map(|steps| NonZeroUsize::try_from(steps).unwrap_or(NonZeroUsize::MAX)),
        only: asked.only,
        from: asked.from,
        images,
        // A path would be one of this agent's own.
        image_paths: PlanPaths::Never,
        include_git: tree.join(".git").exists(),
        limits: Limits {
            memory: least(limits.memory, own.limits.memory),
            cpus: least(
                limits.milli_cpus.map(|thousandths| cores(thousandths.get())),
                own.limits.cpus,
            ),
            pids: least(limits.pids, own.limits.pids),
            disk: least(limits.disk, own.limits.disk),
        },
        network: match asked.network {
            Some(StepNetwork::None) => Network::None,
            Some(StepNetwork::Outbound) | None => own.network,
        },
        artifact_bytes: asked.artifact_bytes.unwrap_or(own.artifact_bytes),
        resume: (!done.is_empty()).then_some(Resume { done }),
        watch: true,
    })
}

/// The smaller of two limits, of which either may be none.
fn least<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other < one { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Whether it can be no path: the server has looked, and this machine is not the server's.
fn is_snapshot(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

#[expect(clippy::cast_precision_loss, reason = "no machine has so many cores")]
fn cores(thousandths: u64) -> f64 {
    thousandths as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn own() -> RunOptions {
        let mut own = RunOptions {
            network: Network::None,
            artifact_bytes: 7,
            limits: Limits {
                memory: Some(1000),
                cpus: Some(2.0),
                ..Limits::default()
            },
            ..RunOptions::default()
        };
        own.images
            .insert(ImageReference::new("ubuntu"), ImageReference::new("/srv/rootfs"));
        own.images
            .insert(ImageReference::new("debian"), ImageReference::new("/srv/rootfs"));
        own
    }

    #[test]
    fn the_agents_own_settings_hold_where_a_build_asks_for_nothing_or_for_more() {
        let tree = Path::new("/none");
        let plain = run_options(&Value::Null, &own(), tree).expect("options");
        let expected = RunOptions {
            image_paths: PlanPaths::Never,
            ..own()
        };
        assert_eq!(plain, expected);
        let asked = json!({
            "network": "outbound", "artifact_bytes": 9, "grace_ms": 2500, "images": {"debian": "host"},
            "limits": {"memory": 2000, "milli_cpus": 1500, "pids": 5},
        });
        let options = run_options(&asked, &own(), tree).expect("options");
        assert_eq!((options.network, options.artifact_bytes), (Network::None, 9));
        assert_eq!(options.grace, Duration::from_millis(2500));
        let limits = options.limits;
        assert_eq!(
            (limits.memory, limits.cpus, limits.pids),
            (Some(1000), Some(1.5), Some(5))
        );
        let stands_in = |name| options.images.resolve(&ImageReference::new(name)).to_string();
        assert_eq!(
            ["ubuntu", "debian", "alpine"].map(stands_in),
            ["/srv/rootfs", "host", "alpine"]
        );
    }

    #[test]
    fn what_an_agent_does_not_know_or_must_not_do_fails_the_build_in_words() {
        for (asked, words) in [
            (json!({"colour": 1}), "update the agent"),
            (json!({"images": {"ubuntu": "/etc"}}), "/etc"),
            (json!({"done": {"a": "../../etc/passwd"}}), "../../etc/passwd"),
            (json!("keep_going"), "update the agent"),
        ] {
            let error =
                run_options(&asked, &RunOptions::default(), Path::new("/none")).expect_err("it is refused");
            assert!(error.contains(words), "{error}");
        }
    }
}
