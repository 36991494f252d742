//! Files that leave a machine.

use std::path::{Path, PathBuf};

use super::Subject;
use super::subject::{passes, sh};
use crate::{Export, Exported, Vm};

fn export(patterns: &[&str]) -> Export {
    Export {
        patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
        max_bytes: 1 << 30,
        max_files: 1000,
    }
}

async fn exported(subject: &Subject, vm: &dyn Vm, what: &Export) -> (PathBuf, Exported) {
    let into = subject.empty_directory("exported");
    let exported = vm.export(what, &into).await.expect("files are copied out");
    for file in &exported.files {
        let copy = std::fs::symlink_metadata(into.join(&file.path)).expect("a copy");
        assert!(copy.is_file(), "{}", file.path.display());
        assert_eq!(copy.len(), file.bytes, "{}", file.path.display());
    }
    (into, exported)
}

fn paths(exported: &Exported) -> Vec<&Path> {
    exported.files.iter().map(|file| file.path.as_path()).collect()
}

fn left_out(exported: &Exported) -> Vec<&Path> {
    exported.left_out.iter().map(|(path, _)| path.as_path()).collect()
}

/// Patterns take files of the source and files that were made, whole directories, and names that begin with a dot.
pub async fn files_are_copied_out_by_pattern(subject: &Subject) {
    if !subject.backend.features().exports {
        return;
    }
    let source = subject
        .source(&[("a.txt", "a"), ("gone.txt", "x"), ("src/main.rs", "m")])
        .await;
    let vm = subject.machine_with(source).await;
    let command = "mkdir -p report/deep/er; mkdir -p other; echo 1 > report/1.xml; echo 2 > report/.2.xml; \
                   echo 3 > report/deep/er/3.xml; echo 4 > other/4.xml; echo 5 > other/5.txt; rm gone.txt; echo b > a.txt";
    passes(vm.as_ref(), command).await;
    for (patterns, expected) in [
        (
            vec!["report"],
            vec!["report/.2.xml", "report/1.xml", "report/deep/er/3.xml"],
        ),
        (vec!["report/*.xml"], vec!["report/.2.xml", "report/1.xml"]),
        (
            vec!["**/*.xml"],
            vec![
                "other/4.xml",
                "report/.2.xml",
                "report/1.xml",
                "report/deep/er/3.xml",
            ],
        ),
        (vec!["*.txt", "src"], vec!["a.txt", "src/main.rs"]),
        (
            vec!["report/deep", "report/1.xml", "report/1.*"],
            vec!["report/1.xml", "report/deep/er/3.xml"],
        ),
        (vec!["nothing", "no/such/*"], vec![]),
    ] {
        let (into, exported) = exported(subject, vm.as_ref(), &export(&patterns)).await;
        let expected: Vec<_> = expected.into_iter().map(Path::new).collect();
        assert_eq!(paths(&exported), expected, "{patterns:?}");
        assert_eq!(exported.left_out, [], "{patterns:?}");
        if patterns == ["*.txt", "src"] {
            let read = |path: &str| std::fs::read_to_string(into.join(path)).expect("it is read");
            assert_eq!(
                (read("a.txt").as_str(), read("src/main.rs").as_str()),
                ("b\n", "m")
            );
        }
    }
    vm.destroy().await.expect("it is destroyed");
}

/// Files beyond the size or the number that was asked for are left out and named; smaller ones after them are not.
pub async fn files_beyond_the_limits_are_left_out(subject: &Subject) {
    if !subject.backend.features().exports {
        return;
    }
    let vm = subject.machine().await;
    passes(
        vm.as_ref(),
        "echo 1 > 1; head -c 100000 /dev/zero > 2; echo 3 > 3; echo 4 > 4",
    )
    .await;
    let mut what = export(&["*"]);
    what.max_bytes = 1000;
    let (into, by_size) = exported(subject, vm.as_ref(), &what).await;
    assert_eq!(paths(&by_size), ["1", "3", "4"].map(Path::new));
    assert_eq!(left_out(&by_size), [Path::new("2")]);
    assert!(!into.join("2").exists());
    what.max_files = 2;
    let (_, by_number) = exported(subject, vm.as_ref(), &what).await;
    assert_eq!(paths(&by_number), ["1", "3"].map(Path::new));
    assert_eq!(left_out(&by_number), ["2", "4"].map(Path::new));
    vm.destroy().await.expect("it is destroyed");
}

/// What is no pattern is refused, and nothing is copied.
pub async fn a_pattern_that_leads_out_is_refused(subject: &Subject) {
    if !subject.backend.features().exports {
        return;
    }
    let vm = subject.machine().await;
    passes(vm.as_ref(), "echo 1 > 1").await;
    for pattern in ["/etc/passwd", "../etc/passwd", "a/../../etc", "broken["] {
        let into = subject.empty_directory("exported");
        let refused = vm.export(&export(&["1", pattern]), &into).await;
        assert!(refused.is_err(), "{pattern}: {refused:?}");
        let copied = std::fs::read_dir(&into).expect("it is listed").count();
        assert_eq!(copied, 0, "{pattern}");
    }
    vm.destroy().await.expect("it is destroyed");
}

/// Links are never followed, whatever they lead to; neither they nor devices nor pipes are copied.
pub async fn links_are_not_followed_out(subject: &Subject) {
    if !subject.backend.features().exports {
        return;
    }
    let vm = subject.machine().await;
    let command = "mkdir -p out/real; echo 1 > out/real/1; ln -s /etc/passwd out/passwd; ln -s /etc out/etc; \
                   ln -s real out/inside; ln -s nowhere out/dangling; mkfifo out/pipe; ln -s /etc linked";
    passes(vm.as_ref(), command).await;
    let (into, copied) = exported(
        subject,
        vm.as_ref(),
        &export(&["out", "linked/passwd", "out/etc/passwd"]),
    )
    .await;
    assert_eq!(paths(&copied), [Path::new("out/real/1")]);
    assert_eq!(
        left_out(&copied),
        ["out/dangling", "out/etc", "out/inside", "out/passwd", "out/pipe"].map(Path::new)
    );
    assert!(std::fs::symlink_metadata(into.join("out/passwd")).is_err());
    assert!(std::fs::symlink_metadata(into.join("linked")).is_err());
    vm.destroy().await.expect("it is destroyed");
}

/// Names may hold anything, and a file that its own command may not read is copied too; the copies belong to the
/// caller.
pub async fn strange_names_and_modes_are_copied_out(subject: &Subject) {
    if !subject.backend.features().exports {
        return;
    }
    let vm = subject.machine().await;
    let command = "mkdir out; cd out; n=\"$(printf 'new\\nline')\"; echo 1 > \"$n\"; echo 2 > '* ?[x]{}\\'; \
                   echo 3 > \"$(printf 'not \\377 utf-8')\"; echo 4 > -n; echo 5 > closed; chmod 000 closed; \
                   mkdir shut; echo 6 > shut/6; chmod 000 shut";
    let ran = sh(vm.as_ref(), command).await;
    assert_eq!(ran.code(), 0, "{ran:?}");
    let (into, copied) = exported(subject, vm.as_ref(), &export(&["out"])).await;
    assert_eq!(copied.files.len(), 6, "{copied:?}");
    let content = |name: &str| std::fs::read_to_string(into.join("out").join(name)).expect("it is read");
    assert_eq!(content("new\nline"), "1\n");
    assert_eq!(content("* ?[x]{}\\"), "2\n");
    assert_eq!(content("closed"), "5\n");
    assert_eq!(content("shut/6"), "6\n");
    std::fs::remove_dir_all(&into).expect("the copies are the caller's");
    vm.destroy().await.expect("it is destroyed");
}
