//! Package managers: on the host, and on root filesystems that are no host's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::persons::{everyone, is_root};
use super::support::{World, run, said, sh};
use hm_vm::ExecRequest;

everyone![
    a_package_is_installed_on_the_host,
    the_hosts_settings_are_the_steps_to_change,
    the_hosts_directories_are_the_steps_to_change,
    what_fails_for_want_of_ids_says_so,
];

/// A package of that name with a program in it, built inside the step.
fn build(package: &str, version: &str) -> String {
    format!(
        "mkdir -p built/DEBIAN built/usr/bin built/usr/share/doc/{package} built/usr/lib/hm-test && \
         printf 'Package: {package}\\nVersion: {version}\\nArchitecture: all\\nMaintainer: hm\\nDescription: hm\\n' \
         > built/DEBIAN/control && printf '#!/bin/sh\\necho installed\\n' > built/usr/bin/hm-test-installed && \
         chmod 755 built/usr/bin/hm-test-installed && echo x > built/usr/share/doc/{package}/hm && \
         dpkg-deb --root-owner-group --build built {package}.deb >/dev/null"
    )
}

async fn a_package_is_installed_on_the_host(world: &World) {
    let status = std::fs::read("/var/lib/dpkg/status").unwrap();
    let mut vm = world.machine().await;
    let install = format!(
        "{} && dpkg -i hm-test-package.deb && hm-test-installed && dpkg -L hm-test-package | grep hm-test-installed \
         && dpkg -r hm-test-package && ! hm-test-installed",
        build("hm-test-package", "1")
    );
    let ran = sh(vm.as_mut(), &install).await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    assert!(ran.out().contains("\ninstalled\n"), "{}", said(&ran));
    // A newer one of what the host has: root replaces it, a user is told why not.
    let replace = format!(
        "{} && apt-get install -y --allow-downgrades ./tzdata.deb",
        build("tzdata", "99999")
    );
    let ran = sh(vm.as_mut(), &replace).await;
    assert_eq!(ran.code() == 0, is_root(), "{}", said(&ran));
    let told = String::from_utf8_lossy(&ran.stderr).contains("not replace the host's own: tzdata.");
    assert_ne!(told, is_root(), "{}", said(&ran));
    vm.destroy().await.unwrap();
    assert!(!Path::new("/usr/bin/hm-test-installed").exists());
    assert!(!Path::new("/usr/lib/hm-test").exists());
    assert_eq!(std::fs::read("/var/lib/dpkg/status").unwrap(), status);
}

async fn the_hosts_settings_are_the_steps_to_change(world: &World) {
    let passwd = std::fs::read("/etc/passwd").unwrap();
    for command in [
        "echo hm:x:4711:4711::/:/bin/sh >> /etc/passwd && grep -c ^hm: /etc/passwd",
        "useradd --uid 4712 hm-test && id -u hm-test",
        "echo 127.0.0.1 other >> /etc/hosts && mkdir -p /opt/tool/bin /usr/local/lib/hm-test && touch /usr/bin/hm-test",
    ] {
        world.passes(command).await;
    }
    assert_eq!(std::fs::read("/etc/passwd").unwrap(), passwd);
    assert!(!Path::new("/opt/tool").exists() && !Path::new("/usr/bin/hm-test").exists());
}

async fn the_hosts_directories_are_the_steps_to_change(world: &World) {
    let owner = std::fs::metadata("/usr/share").unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
    for directory in ["/usr/bin", "/usr/share", "/usr/lib", "/etc", "/var/lib/dpkg/info"] {
        world
            .passes(&format!(
                "stat -c %u {directory} | grep -x 0 && touch {directory}/hm-test"
            ))
            .await;
        assert!(!Path::new(directory).join("hm-test").exists());
    }
}

async fn what_fails_for_want_of_ids_says_so(world: &World) {
    let ran = world.sh("touch x && chown 33 x").await;
    let alone = ran.code() != 0;
    let notes = &ran.outcome.notes;
    assert_eq!(
        notes.iter().any(|note| note.contains("/etc/subuid")),
        alone,
        "{notes:?}"
    );
    let ran = world.sh("touch x; chown 33 x || true").await;
    assert!(ran.outcome.notes.iter().all(|note| !note.contains("/etc/subuid")));
}

/// The smallest Debian with a package manager. Made once, by whoever builds: it takes half a minute.
fn debian() -> PathBuf {
    let tarball = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian-bookworm.tar");
    if tarball.exists() {
        return tarball;
    }
    let lock = File::create(tarball.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !tarball.exists() {
        let partial = tarball.with_extension("partial.tar");
        let made = Command::new("mmdebstrap")
            .args(["--quiet", "--variant=apt", "bookworm"])
            .arg(&partial)
            .output()
            .expect("this test needs mmdebstrap: apt-get install -y mmdebstrap");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        std::fs::rename(partial, &tarball).unwrap();
    }
    tarball
}

async fn apt_installs_what_is_far_away(world: &World) {
    let tarball = debian();
    let request =
        ExecRequest::shell("apt-get -qq update && apt-get install -qq -y hello && hello && stat -c %u /etc");
    let mut vm = world.machine_of(tarball.to_str().unwrap()).await;
    let ran = run(vm.as_mut(), &request).await;
    assert!(ran.out().ends_with("Hello, world!\n0\n"), "{}", said(&ran));
    vm.destroy().await.unwrap();
}

mod from_afar {
    use super::{apt_installs_what_is_far_away, debian};
    use crate::persons;

    #[test]
    fn as_root() {
        debian();
        persons::as_root(apt_installs_what_is_far_away);
    }

    #[test]
    fn as_user() {
        debian();
        persons::as_user(
            concat!(module_path!(), "::as_user"),
            apt_installs_what_is_far_away,
        );
    }

    #[test]
    fn as_user_with_ids() {
        debian();
        persons::as_user_with_ids(
            concat!(module_path!(), "::as_user_with_ids"),
            apt_installs_what_is_far_away,
        );
    }
}
