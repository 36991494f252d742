//! Whether the host, or another root file system, is the one that a snapshot was made on.
//!
//! A digest is made of what a step can see, as closely as a look of a few milliseconds allows: every program that
//! `PATH` names and every file below /usr/local and /opt by size, times and inode, /etc by content, the package
//! database by its packages, toolchains of a home by the names of what is in them. The rest of /usr is the packages'.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::places::real;
use super::scan::{How, Target, mark_of, mark_of_bytes, scan};
use super::state::{self, State};
use super::{passed, toolchains, user_files};
use crate::surface::SandboxConfig;

/// What is looked at file by file, to the bottom.
const BESIDE_PACKAGES: &[&str] = &["/usr/local", "/opt"];

/// Where a package database lists packages in one file, with fields as Debian or as Alpine names them.
const PACKAGE_LISTS: &[&str] = &["/var/lib/dpkg/status", "/lib/apk/db/installed"];

/// Where it is a directory.
const PACKAGE_DIRECTORIES: &[&str] = &["/var/lib/rpm", "/usr/lib/sysimage/rpm", "/var/lib/pacman/local"];

/// What hm lays its own over, and what changes with the time.
const NOT_SEEN: &[&str] = &[
    "/etc/adjtime",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/etc/shadow",
    "/etc/shadow-",
];

/// How deep a toolchain is looked at: `versions/3.12.1/lib/python3.12/site-packages`.
const TOOLCHAIN_DEPTH: usize = 5;

/// Deeper than any tree that somebody made.
const BOTTOM: usize = 64;

const PREFIX: &str = "host:";
const DIRECTORY_PREFIX: &str = "directory:";

/// Where states are remembered.
fn states(config: &SandboxConfig, of: &str) -> PathBuf {
    config.data_dir.join("sandbox/states").join(of)
}

/// Identifies what a step can see of the host.
pub(in crate::linux) fn digest(config: &SandboxConfig) -> String {
    let states = states(config, "host");
    let before = State::latest(&states);
    let digest = finish(look(config, &before), &before, &states);
    format!("{PREFIX}{digest}")
}

/// Identifies a root file system directory by all files in it.
pub(in crate::linux) fn directory_digest(config: &SandboxConfig, path: &Path) -> String {
    let root = real(path);
    let states = directory_states(config, path);
    let before = State::latest(&states);
    let device = std::fs::metadata(&root).map(|metadata| metadata.dev()).ok();
    let mut targets = vec![Target {
        path: root.clone(),
        how: How::Files,
        depth: 0,
    }];
    for entry in std::fs::read_dir(&root).into_iter().flatten().flatten() {
        if entry
            .metadata()
            .is_ok_and(|metadata| metadata.is_dir() && Some(metadata.dev()) == device)
        {
            targets.push(Target {
                path: entry.path(),
                how: How::Files,
                depth: BOTTOM,
            });
        }
    }
    let mut now = State::default();
    now.directories
        .extend(scan(targets, &before, &|_, metadata| is_special(metadata)));
    let digest = finish(now, &before, &states);
    format!("{DIRECTORY_PREFIX}{digest}")
}

fn directory_states(config: &SandboxConfig, path: &Path) -> PathBuf {
    let name = blake3::hash(real(path).as_os_str().as_encoded_bytes()).to_hex();
    states(config, &format!("directory-{}", &name[..16]))
}

/// What changed in an image since the digest that `was` recognises, as far as it is remembered.
pub(in crate::linux) fn changes(
    config: &SandboxConfig,
    digest: &str,
    path: &Path,
    was: &dyn Fn(&str) -> bool,
) -> Option<String> {
    let (prefix, word, states) = if digest.starts_with(PREFIX) {
        (PREFIX, "host", states(config, "host"))
    } else {
        (DIRECTORY_PREFIX, "image", directory_states(config, path))
    };
    let now = digest.strip_prefix(prefix)?;
    let changes = state::changes_since(&states, now, &|before| was(&format!("{prefix}{before}")))?;
    Some(format!("{word}: {changes}"))
}

fn finish(now: State, before: &State, states: &Path) -> String {
    let digest = now.digest();
    if now != *before || !states.join(&digest).exists() {
        now.remember(states, &digest);
    }
    digest
}

fn look(config: &SandboxConfig, before: &State) -> State {
    let home = config.home.clone().unwrap_or_else(|| PathBuf::from("/root"));
    let mut now = State::default();
    now.values.insert(
        "architecture".into(),
        mark_of_bytes(std::env::consts::ARCH.as_bytes()),
    );
    packages(&mut now, before);

    let shown = toolchains::toolchains(config, &home, &[]);
    let overlays: Vec<PathBuf> = shown.iter().map(|bind| bind.target.clone()).collect();
    let passed = passed::passed(config, &home, &overlays);
    for (name, value) in &passed.env {
        now.values
            .insert(format!("${name}"), mark_of_bytes(value.as_bytes()));
    }
    for file in &passed.files {
        if let Ok(bytes) = std::fs::read(file) {
            now.values
                .insert(file.display().to_string(), mark_of_bytes(&bytes));
        }
    }
    let cargo_home = config.host_env.get("CARGO_HOME").map(Path::new);
    for (file, text) in user_files::settings(&home, cargo_home) {
        now.values
            .insert(file.display().to_string(), mark_of_bytes(text.as_bytes()));
    }

    let on_path = on_path(config, &home);
    let target = |path: PathBuf, how, depth| Target { path, how, depth };
    let mut targets = vec![target(PathBuf::from("/etc"), How::Contents, BOTTOM)];
    targets.extend(
        BESIDE_PACKAGES
            .iter()
            .map(|path| target(path.into(), How::Files, BOTTOM)),
    );
    targets.extend(
        PACKAGE_DIRECTORIES
            .iter()
            .map(|path| target(path.into(), How::Files, 0)),
    );
    let is_covered = |path: &PathBuf| BESIDE_PACKAGES.iter().any(|above| path.starts_with(above));
    let toolchains = shown.iter().map(|bind| bind.source.clone());
    // The directories on PATH come last: where one is seen in two ways, the closer one counts.
    targets.extend(toolchains.map(|path| target(path, How::Names, TOOLCHAIN_DEPTH)));
    let programs: Vec<_> = on_path.iter().filter(|path| !is_covered(path)).cloned().collect();
    let leave_out = |path: &Path, metadata: &Metadata| {
        let hidden = path.starts_with("/etc") && super::private::is_unreadable(metadata);
        let passing = path
            .parent()
            .is_some_and(|above| on_path.iter().any(|directory| directory == above))
            && path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        hidden || passing || is_special(metadata) || NOT_SEEN.iter().any(|file| path == Path::new(file))
    };
    now.directories.extend(scan(targets, before, &leave_out));
    let programs = programs
        .into_iter()
        .map(|path| target(path, How::Files, 0))
        .collect();
    now.directories.extend(scan(programs, before, &leave_out));
    now
}

/// The directories that `PATH` names, each once.
fn on_path(config: &SandboxConfig, home: &Path) -> Vec<PathBuf> {
    let absolute = config
        .path
        .split(':')
        .map(Path::new)
        .filter(|path| path.is_absolute());
    let mut found: Vec<_> = absolute
        .filter_map(|path| std::fs::canonicalize(path).ok())
        .filter(|path| path != home && path.is_dir())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// A socket or a device: an overlay shows none of the host's that works.
fn is_special(metadata: &Metadata) -> bool {
    !metadata.is_file() && !metadata.is_dir() && !metadata.is_symlink()
}

/// The packages with their versions, read again when the database changed.
fn packages(now: &mut State, before: &State) {
    let lists = PACKAGE_LISTS.iter().filter_map(|list| {
        let metadata = std::fs::metadata(list).ok()?;
        Some((*list, mark_of(&metadata)))
    });
    for (list, seen) in lists {
        now.packages_seen ^= seen;
        if before.packages_seen == seen {
            now.packages.clone_from(&before.packages);
        } else if let Ok(text) = std::fs::read(list) {
            now.packages.extend(parse(&String::from_utf8_lossy(&text)));
        }
    }
    now.packages.sort();
}

/// Names with a mark of version, architecture and state.
fn parse(text: &str) -> Vec<(String, u64)> {
    let stanza = |stanza: &str| {
        let field = |names: [&str; 2]| {
            let mut lines = stanza.lines();
            lines.find_map(|line| names.iter().find_map(|name| line.strip_prefix(name)))
        };
        let name = field(["Package: ", "P:"])?;
        let about = [["Version: ", "V:"], ["Architecture: ", "A:"], ["Status: ", "S:"]].map(field);
        Some((name.to_owned(), mark_of_bytes(format!("{about:?}").as_bytes())))
    };
    text.split("\n\n").filter_map(stanza).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Host {
        home: tempfile::TempDir,
        config: SandboxConfig,
    }

    impl Host {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            for directory in [
                "bin",
                ".pyenv/shims",
                ".pyenv/versions/3.12.1/lib/python3.12/site-packages/one",
            ] {
                std::fs::create_dir_all(home.path().join(directory)).unwrap();
            }
            let path = format!("{0}/bin:{0}/.pyenv/shims:/usr/bin", home.path().display());
            let mut config = SandboxConfig::new(home.path().join("data"), path);
            config.home = Some(home.path().to_owned());
            let host = Self { home, config };
            host.write("bin/tool", "one");
            host
        }

        fn write(&self, path: &str, text: &str) {
            std::fs::write(self.home.path().join(path), text).unwrap();
        }

        fn digest(&self) -> String {
            digest(&self.config)
        }

        fn changes(&self, since: &str) -> Option<String> {
            changes(&self.config, &self.digest(), Path::new("host"), &|digest| {
                digest == since
            })
        }
    }

    #[test]
    fn host_tool_rewritten_in_place_changes_digest() {
        let host = Host::new();
        let first = host.digest();
        assert_eq!(host.digest(), first);
        host.write("bin/tool", "two");
        assert_ne!(host.digest(), first);
        let tool = host.home.path().join("bin/tool").display().to_string();
        assert_eq!(host.changes(&first), Some(format!("host: {tool}")));
    }

    #[test]
    fn host_file_that_came_and_went_keeps_digest() {
        let host = Host::new();
        let first = host.digest();
        host.write("bin/.lock", "");
        assert_eq!(host.digest(), first);
        host.write("bin/passing", "");
        assert_ne!(host.digest(), first);
        std::fs::remove_file(host.home.path().join("bin/passing")).unwrap();
        assert_eq!(host.digest(), first);
    }

    #[test]
    fn host_python_module_changes_digest_and_is_named() {
        let host = Host::new();
        let first = host.digest();
        let module = ".pyenv/versions/3.12.1/lib/python3.12/site-packages/two.py";
        host.write(module, "");
        assert_ne!(host.digest(), first);
        let module = host.home.path().join(module).display().to_string();
        assert_eq!(host.changes(&first), Some(format!("host: +{module}")));
        std::fs::remove_file(module).unwrap();
        assert_eq!(host.digest(), first);
    }

    #[test]
    fn host_variable_that_passes_changes_digest_and_is_named() {
        let mut host = Host::new();
        let first = host.digest();
        host.config.host_env.insert("LANG".into(), "C.UTF-8".into());
        assert_ne!(host.digest(), first);
        assert_eq!(host.changes(&first), Some("host: +$LANG".into()));
    }

    #[test]
    fn rootfs_directory_changes_with_each_file() {
        let rootfs = tempfile::tempdir().unwrap();
        let data = tempfile::tempdir().unwrap();
        let config = SandboxConfig::new(data.path(), "/usr/bin");
        let library = rootfs.path().join("usr/lib/deep/library");
        std::fs::create_dir_all(library.parent().unwrap()).unwrap();
        std::fs::write(&library, "one").unwrap();
        let first = directory_digest(&config, rootfs.path());
        assert_eq!(directory_digest(&config, rootfs.path()), first);
        std::fs::write(&library, "two").unwrap();
        let second = directory_digest(&config, rootfs.path());
        assert_ne!(second, first);
        let named = changes(&config, &second, rootfs.path(), &|digest| digest == first);
        assert_eq!(named, Some(format!("image: {}", real(&library).display())));
    }

    #[test]
    fn packages_are_told_by_name_and_version() {
        let dpkg =
            "Package: clang-14\nStatus: install ok installed\nVersion: 1\n\nPackage: dash\nVersion: 2\n";
        let apk = "P:busybox\nV:1.36\n\nP:musl\nV:1.2\n";
        let names = |text| parse(text).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(dpkg), ["clang-14", "dash"]);
        assert_eq!(names(apk), ["busybox", "musl"]);
        assert_ne!(parse(dpkg), parse(&dpkg.replace("Version: 1", "Version: 1.1")));
    }
}
