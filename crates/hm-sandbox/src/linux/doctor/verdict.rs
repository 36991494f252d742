//! From what was read and tried to plain words. Pure.

use super::facts::{Facts, Tun};
use super::trial::Trial;
use super::{Finding, Status};
use crate::linux::protocol::Identity;

/// Below this a build of any size fills the disk.
const LITTLE_SPACE: u64 = 2 << 30;

const OVERLAYFS: i64 = 0x794c_7630;

/// File systems that cannot be what an overlay writes to, by the number that statfs(2) gives.
const NOT_WRITABLE_BY_OVERLAYS: &[(i64, &str)] = &[
    (OVERLAYFS, "an overlay itself, as in a container"),
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xfe53_4d42, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0xf15f, "eCryptfs"),
    (0x4d44, "FAT"),
    (0x2011_bab0, "exFAT"),
];

pub(super) fn judge(facts: &Facts, trial: &Trial) -> Vec<Finding> {
    let mut findings = vec![step(facts, trial), kernel(facts)];
    findings.extend(user_namespaces(facts, ran(trial)));
    findings.push(filesystem(facts, trial));
    findings.push(user_ids(facts));
    findings.push(network(facts, trial));
    findings.push(limits(facts, trial));
    findings.extend(space(facts));
    findings
}

/// What keeps every step from running, as far as that is certain without trying one.
pub(super) fn missing(facts: &Facts) -> Option<Finding> {
    let certain = [
        Some(kernel(facts)),
        user_namespaces(facts, true),
        on_overlay(facts),
    ];
    let mut certain = certain.into_iter().flatten();
    certain.find(|finding| finding.status == Status::Missing)
}

/// Why a step could not be set up, as far as anything that was read explains it.
pub(super) fn cause(facts: &Facts, failed: &Trial) -> Option<Finding> {
    let causes = [
        Some(kernel(facts)),
        user_namespaces(facts, false),
        Some(filesystem(facts, failed)),
        in_container(facts, failed),
        space(facts),
    ];
    let mut causes = causes.into_iter().flatten();
    causes.find(|finding| finding.status == Status::Missing)
}

/// Data on an overlay: no kernel takes it for what an overlay writes to.
fn on_overlay(facts: &Facts) -> Option<Finding> {
    (facts.data_filesystem == Some(OVERLAYFS))
        .then(|| unfit(facts))
        .flatten()
}

/// Whether only trying tells if this user may make user namespaces.
pub(super) fn is_uncertain(facts: &Facts) -> bool {
    facts.identity != Identity::Root && is(facts.apparmor_restrict.as_ref(), "1")
}

fn finding(name: &str, status: Status, detail: impl Into<String>, fix: Option<String>) -> Finding {
    Finding {
        name: name.into(),
        status,
        detail: detail.into(),
        fix,
    }
}

fn ran(trial: &Trial) -> bool {
    matches!(trial, Trial::Ran { .. })
}

/// The step itself.
fn step(facts: &Facts, trial: &Trial) -> Finding {
    match trial {
        Trial::Ran { took, .. } => {
            let milliseconds = took.as_secs_f64() * 1000.0;
            let who = match facts.identity {
                Identity::Root => "as root",
                Identity::Single { .. } | Identity::Range => "without root",
            };
            let detail = format!("a step of `true` ran {who} in {milliseconds:.1} ms");
            finding("sandbox", Status::Ok, detail, None)
        }
        Trial::Failed(reason) => {
            let (cause, fix) = match in_container(facts, trial) {
                Some(Finding { detail, fix, .. }) => (format!(". {detail}"), fix),
                None => (String::new(), None),
            };
            finding(
                "sandbox",
                Status::Missing,
                format!("no step can run: {reason}{cause}"),
                fix,
            )
        }
    }
}

/// A container that refused a mount.
fn in_container(facts: &Facts, trial: &Trial) -> Option<Finding> {
    let Trial::Failed(reason) = trial else { return None };
    let refused = ["Operation not permitted", "Permission denied"]
        .iter()
        .any(|words| reason.contains(words));
    (facts.in_container && refused && reason.contains("cannot mount")).then(|| {
        finding(
            "sandbox",
            Status::Missing,
            "This is a container that keeps mounts from what runs in it",
            Some("docker run --privileged …  (podman run --privileged … without root)".to_owned()),
        )
    })
}

/// Major and minor of a kernel release such as `6.18.44-fc`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

fn kernel(facts: &Facts) -> Finding {
    let release = facts.release.trim();
    let (needed, whom) = match facts.identity {
        Identity::Root => ((5, 10), "the sandbox"),
        Identity::Single { .. } | Identity::Range => ((5, 11), "the sandbox of an ordinary user"),
    };
    match version(release) {
        Some(found) if found < needed => finding(
            "kernel",
            Status::Missing,
            format!(
                "Linux {release} is too old: {whom} needs {}.{} or newer",
                needed.0, needed.1
            ),
            Some("sudo apt-get update && sudo apt-get full-upgrade && sudo reboot".into()),
        ),
        _ => finding("kernel", Status::Ok, format!("Linux {release}"), None),
    }
}

fn is(text: Option<&String>, value: &str) -> bool {
    text.is_some_and(|text| text.trim() == value)
}

/// What keeps ordinary users from making user namespaces. Root needs none.
fn user_namespaces(facts: &Facts, a_step_ran: bool) -> Option<Finding> {
    const NAME: &str = "user namespaces";
    if facts.identity == Identity::Root {
        return None;
    }
    let missing =
        |detail: &str, fix: &str| Some(finding(NAME, Status::Missing, detail, Some(fix.to_owned())));
    if facts.max_user_namespaces.is_none() {
        return missing(
            "this kernel was built without user namespaces: steps can only run as root",
            "sudo hm run",
        );
    }
    if is(facts.max_user_namespaces.as_ref(), "0") {
        return missing(
            "user.max_user_namespaces is 0: nobody may make one",
            "sudo sysctl -w user.max_user_namespaces=15000",
        );
    }
    if is(facts.unprivileged_userns_clone.as_ref(), "0") {
        return missing(
            "kernel.unprivileged_userns_clone is 0: only root may make one",
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        );
    }
    // An AppArmor profile may allow hm what it keeps from others: the step tells.
    if is(facts.apparmor_restrict.as_ref(), "1") && !a_step_ran {
        return missing(
            "AppArmor takes all rights away in the user namespaces of programs that it does not know",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        );
    }
    Some(if a_step_ran {
        finding(NAME, Status::Ok, "this user may make them", None)
    } else {
        finding(NAME, Status::Ok, "no setting forbids them", None)
    })
}

/// Overlays, and whether they can write to the data directory.
fn filesystem(facts: &Facts, trial: &Trial) -> Finding {
    const NAME: &str = "overlayfs";
    let directory = &facts.data_dir;
    if ran(trial) {
        return finding(NAME, Status::Ok, format!("writes to {directory}"), None);
    }
    let known = facts
        .filesystems
        .lines()
        .any(|line| line.split_whitespace().last() == Some("overlay"));
    if !known {
        let detail = "the kernel's overlay module is not loaded";
        return finding(
            NAME,
            Status::Missing,
            detail,
            Some("sudo modprobe overlay".into()),
        );
    }
    if let Some(unfit) = unfit(facts) {
        return unfit;
    }
    if facts.identity != Identity::Root && !facts.inner_mounts.is_empty() {
        let detail = format!(
            "the kernel refuses an ordinary user's overlay over a directory with mounts inside, as containers have \
             them: {}",
            facts.inner_mounts.join(", ")
        );
        return finding(NAME, Status::Missing, detail, Some("sudo hm run".into()));
    }
    finding(NAME, Status::Ok, "the kernel has it", None)
}

/// A file system that an overlay cannot write to.
fn unfit(facts: &Facts) -> Option<Finding> {
    let mut known = NOT_WRITABLE_BY_OVERLAYS.iter();
    let (_, kind) = known.find(|(number, _)| facts.data_filesystem == Some(*number))?;
    let detail = format!("{} is on {kind}: an overlay cannot write there", facts.data_dir);
    let fix = "export HM_DATA_DIR=/a/directory/on/a/local/disk".into();
    Some(finding("overlayfs", Status::Missing, detail, Some(fix)))
}

fn user_ids(facts: &Facts) -> Finding {
    const NAME: &str = "user ids";
    match facts.identity {
        Identity::Root => finding(NAME, Status::Ok, "steps have all of them: hm runs as root", None),
        Identity::Range => finding(
            NAME,
            Status::Ok,
            "steps have root and a range of others: package managers work; on the image `host` they add packages, \
             and replace none of the host's own",
            None,
        ),
        Identity::Single { .. } => {
            let user = &facts.user;
            let mut commands = Vec::new();
            let mut without = Vec::new();
            if !facts.has_newuidmap {
                without.push("newuidmap is not installed".to_owned());
                commands.push("sudo apt-get install -y uidmap".to_owned());
            }
            if !facts.has_subids {
                without.push(format!("/etc/subuid and /etc/subgid give {user} none"));
                commands.push(format!(
                    "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
                ));
            }
            let detail = format!(
                "steps have root alone, so that `chown` and some packages' installation fail: {}",
                without.join(", ")
            );
            let fix = (!commands.is_empty()).then(|| commands.join(" && "));
            finding(NAME, Status::Degraded, detail, fix)
        }
    }
}

fn network(facts: &Facts, trial: &Trial) -> Finding {
    const NAME: &str = "network";
    let degraded = |why: &str, fix: Option<&str>| {
        let detail = format!("steps have their own localhost alone: {why}");
        finding(NAME, Status::Degraded, detail, fix.map(ToOwned::to_owned))
    };
    if !facts.has_pasta {
        return degraded("pasta is not installed", Some("sudo apt-get install -y passt"));
    }
    match (facts.tun, trial) {
        (Tun::Missing, _) => degraded("there is no /dev/net/tun", Some("sudo modprobe tun")),
        (Tun::Refused, _) => degraded(
            "this user may not open /dev/net/tun",
            Some("sudo chmod 666 /dev/net/tun"),
        ),
        (
            Tun::Usable,
            Trial::Ran {
                has_network: false, ..
            },
        ) => degraded(
            "pasta could not set a connection up; `pasta --config-net -- true` says why",
            None,
        ),
        (Tun::Usable, Trial::Ran { .. }) => finding(NAME, Status::Ok, "steps reach out through pasta", None),
        (Tun::Usable, Trial::Failed(_)) => finding(NAME, Status::Ok, "pasta is installed", None),
    }
}

fn limits(facts: &Facts, trial: &Trial) -> Finding {
    const NAME: &str = "limits";
    let Trial::Ran { notes, .. } = trial else {
        return finding(NAME, Status::Degraded, "not tried, because no step ran", None);
    };
    let missing: Vec<_> = ["memory", "cpu", "pids"]
        .into_iter()
        .filter(|name| {
            notes
                .iter()
                .any(|note| note.contains(&format!("the {name} limit")))
        })
        .collect();
    if missing.is_empty() {
        return finding(
            NAME,
            Status::Ok,
            "memory, cpu and pids are limited by cgroups",
            None,
        );
    }
    let user = facts.identity != Identity::Root;
    let fix =
        (user && facts.has_systemd).then(|| "systemd-run --user --scope -p Delegate=yes hm run".to_owned());
    let why = match (user, facts.has_systemd) {
        (true, true) => "this session has not been given those cgroups",
        (true, false) => "without systemd only root can make those cgroups",
        (false, _) => "no mounted cgroup hierarchy has those controllers",
    };
    let detail = format!("{} cannot be limited: {why}", missing.join(", "));
    finding(NAME, Status::Degraded, detail, fix)
}

fn space(facts: &Facts) -> Option<Finding> {
    let free = facts.free?;
    let gib = |bytes: u64| format!("{}.{} GiB", bytes >> 30, (bytes >> 20) % 1024 * 10 / 1024);
    let detail = format!("{} free for {}", gib(free), facts.data_dir);
    let fix = Some("hm cache prune".to_owned());
    Some(if free < facts.min_free {
        let detail = format!(
            "{detail}: steps that write much are stopped below {}",
            gib(facts.min_free)
        );
        finding("disk space", Status::Missing, detail, fix)
    } else if free < LITTLE_SPACE {
        finding("disk space", Status::Degraded, detail, fix)
    } else {
        finding("disk space", Status::Ok, detail, None)
    })
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
