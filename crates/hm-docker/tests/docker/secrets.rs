//! A secret is given to its command, and stands nowhere else: in nothing that the engine keeps or tells.

use std::path::Path;

use hm_vm::testing::footprint::processes_with;
use hm_vm::{Cancel, ExecRequest, SecretValue, Secrets, VmError};

use crate::support::{Engine, World, during};

fn marker() -> String {
    format!("marker-{}", uuid::Uuid::new_v4().simple())
}

/// The files below a directory that hold a text.
fn holding(directory: &Path, text: &str) -> Vec<String> {
    let found = std::process::Command::new("grep")
        .args(["-r", "-l", "-a", "-F", text])
        .arg(directory)
        .output()
        .unwrap();
    let files = String::from_utf8_lossy(&found.stdout);
    files.lines().map(ToOwned::to_owned).collect()
}

pub async fn a_secret_is_nowhere_else(engine: &Engine, world: &World) {
    let secret = marker();
    let mut vm = world.machine().await;
    let value = || SecretValue::new(secret.as_bytes());
    let request = ExecRequest {
        secrets: Secrets {
            env: [("HM_TOKEN".to_owned(), value())].into(),
            files: [("key".to_owned(), value())].into(),
        },
        ..ExecRequest::shell("test -n \"$HM_TOKEN\" && test -s /run/secrets/key && echo ready && sleep 5000")
    };
    during(vm.as_ref(), &request, async {
        assert_eq!(processes_with(&secret), Vec::<u32>::new());
        for container in engine.says(&["ps", "--quiet"]) {
            let told = engine.says(&["inspect", &container]).join("\n");
            assert!(!told.contains(&secret), "{told}");
        }
        assert_eq!(world.sh(vm.as_ref(), "echo [$HM_TOKEN]").await.out(), "[]\n");
        // A second command cannot have files of its own.
        let mut beside = request.clone();
        beside.argv[2] = "true".into();
        let (sender, _chunks) = tokio::sync::mpsc::channel(1);
        let refused = vm.exec(&beside, sender, Cancel::new()).await;
        assert!(matches!(refused, Err(VmError::Unsupported { .. })), "{refused:?}");
        assert_eq!(holding(engine.directory.path(), &secret), Vec::<String>::new());
    })
    .await;
    let snapshot = vm.snapshot().await.unwrap();
    vm.destroy().await.unwrap();
    assert_eq!(holding(engine.directory.path(), &secret), Vec::<String>::new());
    world.backend.remove(&snapshot.id).await.unwrap();
}
