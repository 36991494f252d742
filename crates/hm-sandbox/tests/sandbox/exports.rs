//! Files that leave a machine, beyond what every backend must do.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hm_vm::{Cancel, ExecRequest, Export, OutputChunk};
use tokio::sync::mpsc;

use super::persons::everyone;
use super::support::{World, said, sh};

everyone![
    a_sparse_file_stays_sparse,
    copies_are_the_callers_whoever_owned_the_files,
    a_machine_that_ran_nothing_has_its_source,
    a_workspace_of_a_hostile_step_leads_nowhere,
    commands_go_on_while_files_are_copied,
];

fn all(patterns: &[&str]) -> Export {
    Export {
        patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
        max_bytes: 1 << 40,
        max_files: 1 << 20,
    }
}

fn into(world: &World) -> PathBuf {
    let into = world.directory.path().join("exported");
    let _ = std::fs::remove_dir_all(&into);
    std::fs::create_dir(&into).unwrap();
    into
}

async fn a_sparse_file_stays_sparse(world: &World) {
    let mut vm = world.machine().await;
    let make = "truncate -s 3G sparse; printf middle | dd of=sparse bs=1 seek=1500000000 conv=notrunc status=none; \
                truncate -s 1G hole; : > empty";
    let ran = sh(vm.as_mut(), make).await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    let into = into(world);
    let exported = vm.export(&all(&["*"]), &into).await.unwrap();
    assert_eq!(exported.files.len(), 3, "{exported:?}");
    let sparse = std::fs::metadata(into.join("sparse")).unwrap();
    assert_eq!(sparse.len(), 3 << 30);
    assert!(sparse.blocks() * 512 < 1 << 20, "{} blocks", sparse.blocks());
    assert_eq!(std::fs::metadata(into.join("hole")).unwrap().len(), 1 << 30);
    let mut middle = [0; 6];
    let file = std::fs::File::open(into.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut middle, 1_500_000_000).unwrap();
    assert_eq!(&middle, b"middle");
    vm.destroy().await.unwrap();
}

async fn copies_are_the_callers_whoever_owned_the_files(world: &World) {
    let mut vm = world.machine().await;
    let make = "mkdir d; echo 1 > d/1; echo 2 > d/2; chmod 4711 d/1; (chown -R 33:34 d || true) 2> /dev/null; chmod 000 d";
    let ran = sh(vm.as_mut(), make).await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    let into = into(world);
    let exported = vm.export(&all(&["d"]), &into).await.unwrap();
    assert_eq!(
        (exported.files.len(), exported.left_out.len()),
        (2, 0),
        "{exported:?}"
    );
    for (file, mode) in [("d/1", 0o755), ("d/2", 0o644)] {
        let copy = std::fs::metadata(into.join(file)).unwrap();
        assert_eq!(copy.uid(), rustix::process::getuid().as_raw());
        assert_eq!(copy.permissions().mode() & 0o7777, mode, "{file}");
    }
    // What is there already is never written over.
    assert!(vm.export(&all(&["d"]), &into).await.is_err());
    assert!(vm.export(&all(&["d"]), &into.join("none")).await.is_err());
    vm.destroy().await.unwrap();
}

async fn a_machine_that_ran_nothing_has_its_source(world: &World) {
    let mut vm = world.machine().await;
    let into = into(world);
    assert_eq!(vm.export(&all(&["**"]), &into).await.unwrap().files, []);
    sh(vm.as_mut(), "echo 1 > 1").await;
    let snapshot = vm.snapshot().await.unwrap();
    let exported = vm.export(&all(&["**"]), &into).await.unwrap();
    assert_eq!(exported.files.len(), 1, "{exported:?}");
    assert_eq!(vm.snapshot().await.unwrap(), snapshot, "to look is not to write");
    vm.destroy().await.unwrap();
}

async fn a_workspace_of_a_hostile_step_leads_nowhere(world: &World) {
    let mut vm = world.machine().await;
    // Deeper than a path can say.
    let deep = "import os\\nos.mkdir('deep')\\nos.chdir('deep')\\nfor n in range(300):\\n  os.mkdir('d' * 16)\\n  os.chdir('d' * 16)\\n\
                open('bottom', 'w').close()";
    let make = format!(
        "mkdir -p a/b; ln -s /etc a/b/up; ln -s ../../../../etc a/out; ln -s . a/loop; mknod a/device c 1 3 2> /dev/null; \
         mkfifo a/pipe; printf \"{deep}\" | /usr/bin/python3 -I -"
    );
    let ran = sh(vm.as_mut(), &make).await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    let into = into(world);
    let exported = vm.export(&all(&["**/passwd", "a", "deep"]), &into).await.unwrap();
    assert_eq!(exported.files, [], "{exported:?}");
    let left_out: Vec<&Path> = exported.left_out.iter().map(|(path, _)| path.as_path()).collect();
    for path in ["a/b/up", "a/loop", "a/out", "a/pipe"] {
        assert!(left_out.contains(&Path::new(path)), "{path}: {left_out:?}");
    }
    assert!(
        exported
            .left_out
            .iter()
            .any(|(_, reason)| reason.contains("too long")),
        "{left_out:?}"
    );
    vm.destroy().await.unwrap();
}

async fn commands_go_on_while_files_are_copied(world: &World) {
    let mut vm = world.machine().await;
    let ran = sh(
        vm.as_mut(),
        "mkdir many; seq -f many/%g 5000 | xargs touch; head -c 50000000 /dev/zero > large",
    )
    .await;
    assert_eq!(ran.code(), 0, "{}", said(&ran));
    let into = into(world);
    let what = all(&["**"]);
    let commands = async {
        for number in 0..5 {
            let (output, mut chunks) = mpsc::channel::<OutputChunk>(4);
            let request = ExecRequest::shell(format!("echo {number}"));
            let run = vm.exec(&request, output, Cancel::new());
            let (outcome, chunk) = tokio::join!(run, chunks.recv());
            assert_eq!(outcome.unwrap().status.code(), 0);
            assert_eq!(chunk.unwrap().bytes, format!("{number}\n"));
        }
    };
    let (exported, ()) = tokio::join!(vm.export(&what, &into), commands);
    assert_eq!(exported.unwrap().files.len(), 5001);
    vm.destroy().await.unwrap();
}
