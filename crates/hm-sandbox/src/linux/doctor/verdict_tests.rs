//! Verdicts on machines that are not this one.

use std::time::Duration;

use super::*;

fn user() -> Facts {
    Facts {
        identity: Identity::Range,
        user: "ann".into(),
        release: "6.1.0-18-amd64\n".into(),
        filesystems: "nodev\tproc\nnodev\toverlay\n\text4\n".into(),
        max_user_namespaces: Some("63000\n".into()),
        unprivileged_userns_clone: None,
        apparmor_restrict: None,
        data_filesystem: Some(0xef53),
        data_dir: "/home/ann/.local/share/hm".into(),
        free: Some(50 << 30),
        min_free: 256 << 20,
        inner_mounts: Vec::new(),
        has_subids: true,
        has_newuidmap: true,
        has_pasta: true,
        tun: Tun::Usable,
        in_container: false,
        has_systemd: true,
    }
}

fn well() -> Trial {
    Trial::Ran {
        took: Duration::from_micros(4321),
        has_network: true,
        notes: Vec::new(),
    }
}

fn failed(reason: &str) -> Trial {
    Trial::Failed(reason.into())
}

/// The finding of that name.
fn of(name: &str, facts: &Facts, trial: &Trial) -> Finding {
    let findings = judge(facts, trial);
    let found = findings.into_iter().find(|finding| finding.name == name);
    found.unwrap_or_else(|| panic!("nothing was said about {name}"))
}

#[test]
fn a_machine_that_has_everything_is_told_so() {
    let findings = judge(&user(), &well());
    assert!(
        findings
            .iter()
            .all(|finding| finding.status == Status::Ok && finding.fix.is_none()),
        "{findings:?}"
    );
    assert_eq!(findings[0].detail, "a step of `true` ran without root in 4.3 ms");
}

#[test]
fn each_setting_that_forbids_user_namespaces_has_its_command() {
    let denied = failed("cannot make a user namespace: Operation not permitted");
    let none = Facts {
        max_user_namespaces: Some("0\n".into()),
        ..user()
    };
    let debian = Facts {
        unprivileged_userns_clone: Some("0\n".into()),
        ..user()
    };
    let ubuntu = Facts {
        apparmor_restrict: Some("1\n".into()),
        ..user()
    };
    let kernel = Facts {
        max_user_namespaces: None,
        ..user()
    };
    for (facts, fix) in [
        (&none, "sudo sysctl -w user.max_user_namespaces=15000"),
        (&debian, "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            &ubuntu,
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (&kernel, "sudo hm run"),
    ] {
        let found = of("user namespaces", facts, &denied);
        assert_eq!(
            (found.status, found.fix.as_deref()),
            (Status::Missing, Some(fix)),
            "{found:?}"
        );
    }
    // A profile lets hm do what others may not.
    assert_eq!(of("user namespaces", &ubuntu, &well()).status, Status::Ok);
    let root = Facts {
        identity: Identity::Root,
        ..none
    };
    assert!(
        judge(&root, &well())
            .iter()
            .all(|finding| finding.name != "user namespaces")
    );
}

#[test]
fn an_old_kernel_is_named() {
    for (release, identity, status) in [
        ("5.10.0-28-amd64", Identity::Range, Status::Missing),
        ("5.10.0-28-amd64", Identity::Root, Status::Ok),
        ("5.9.1", Identity::Root, Status::Missing),
        ("4.19.0", Identity::Root, Status::Missing),
        ("5.11", Identity::Range, Status::Ok),
        ("6.18.44-fc-v669", Identity::Range, Status::Ok),
        ("10.0", Identity::Range, Status::Ok),
        ("unheard-of", Identity::Range, Status::Ok),
    ] {
        let facts = Facts {
            release: release.into(),
            identity,
            ..user()
        };
        assert_eq!(of("kernel", &facts, &well()).status, status, "{release}");
    }
}

#[test]
fn what_an_overlay_cannot_write_to_is_named() {
    let trial = failed("cannot mount the overlay on /: Invalid argument");
    let nfs = Facts {
        data_filesystem: Some(0x6969),
        ..user()
    };
    let found = of("overlayfs", &nfs, &trial);
    assert_eq!(found.status, Status::Missing);
    assert!(found.detail.contains("NFS"), "{}", found.detail);
    let unloaded = Facts {
        filesystems: "nodev\tproc\n\text4\n".into(),
        ..user()
    };
    assert_eq!(
        of("overlayfs", &unloaded, &trial).fix.as_deref(),
        Some("sudo modprobe overlay")
    );
    let inner = Facts {
        inner_mounts: vec!["/etc/hosts".into()],
        ..user()
    };
    let found = of("overlayfs", &inner, &trial);
    assert!(
        found.status == Status::Missing && found.detail.contains("/etc/hosts"),
        "{found:?}"
    );
    assert_eq!(of("overlayfs", &inner, &well()).status, Status::Ok);
    assert_eq!(of("overlayfs", &user(), &trial).status, Status::Ok);
}

#[test]
fn a_container_that_refuses_mounts_is_told_from_a_machine() {
    let trial = failed("cannot mount proc on proc: Operation not permitted");
    let container = Facts {
        in_container: true,
        ..user()
    };
    let found = of("sandbox", &container, &trial);
    assert!(
        found.detail.contains("container") && found.fix.is_some(),
        "{found:?}"
    );
    let found = of("sandbox", &user(), &trial);
    assert!(
        !found.detail.contains("container") && found.status == Status::Missing,
        "{found:?}"
    );
}

#[test]
fn a_user_without_ids_is_told_what_to_install() {
    let alone = |has_newuidmap, has_subids| Facts {
        identity: Identity::Single { uid: 1000, gid: 1000 },
        has_newuidmap,
        has_subids,
        ..user()
    };
    let add = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ann";
    for (facts, fix) in [
        (alone(false, true), "sudo apt-get install -y uidmap".to_owned()),
        (alone(true, false), add.to_owned()),
        (
            alone(false, false),
            format!("sudo apt-get install -y uidmap && {add}"),
        ),
    ] {
        let found = of("user ids", &facts, &well());
        assert_eq!((found.status, found.fix), (Status::Degraded, Some(fix)));
    }
}

#[test]
fn a_missing_network_says_which_part_is_missing() {
    let without = Trial::Ran {
        took: Duration::ZERO,
        has_network: false,
        notes: Vec::new(),
    };
    for (facts, fix) in [
        (
            Facts {
                has_pasta: false,
                ..user()
            },
            Some("sudo apt-get install -y passt"),
        ),
        (
            Facts {
                tun: Tun::Missing,
                ..user()
            },
            Some("sudo modprobe tun"),
        ),
        (
            Facts {
                tun: Tun::Refused,
                ..user()
            },
            Some("sudo chmod 666 /dev/net/tun"),
        ),
        (user(), None),
    ] {
        let found = of("network", &facts, &without);
        assert_eq!((found.status, found.fix.as_deref()), (Status::Degraded, fix));
    }
}

#[test]
fn limits_that_are_not_kept_are_listed() {
    let trial = Trial::Ran {
        took: Duration::ZERO,
        has_network: true,
        notes: vec![
            "the memory limit is not enforced: no cgroup".into(),
            "the pids limit is not enforced: no cgroup".into(),
        ],
    };
    let found = of("limits", &user(), &trial);
    assert_eq!(found.status, Status::Degraded);
    assert!(
        found.detail.starts_with("memory, pids cannot be limited"),
        "{}",
        found.detail
    );
    assert!(found.fix.is_some());
}

#[test]
fn little_space_is_told_before_it_runs_out() {
    for (free, status) in [
        (100 << 20, Status::Missing),
        (1 << 30, Status::Degraded),
        (3 << 30, Status::Ok),
    ] {
        let facts = Facts {
            free: Some(free),
            ..user()
        };
        assert_eq!(of("disk space", &facts, &well()).status, status, "{free}");
    }
    let facts = Facts {
        free: Some((5 << 30) + (512 << 20)),
        ..user()
    };
    assert!(
        of("disk space", &facts, &well())
            .detail
            .starts_with("5.5 GiB free"),
        "halves are told"
    );
}
