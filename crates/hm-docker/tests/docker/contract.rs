//! Docker keeps the contract of every `VmBackend`, and leaves nothing in the engine.

use std::time::Duration;

use hm_oci::testing::ImageBuilder;
use hm_vm::testing::contract::{self, Subject};
use hm_vm::{ImageConfig, ImageReference};

use crate::support::{Engine, busybox};

/// How long a case waits: an engine takes a good part of a second for each of the 150 snapshots of a long chain.
const PATIENCE: Duration = Duration::from_secs(400);

/// Two commands of one machine share a container, and so its files: the second sees the secret files of the first.
/// What holds all the same is in `secrets.rs`.
const OTHERWISE: &[&str] = &["a_secret_is_in_no_argument"];

/// What Podman 4.3 does otherwise: it keeps nothing of a pod's names in containers that join its network, it writes
/// users that it does not know into an image's `/etc/passwd`, it takes seconds for each of a chain's 150 snapshots, and
/// it says of every volume that it takes up nothing.
const PODMAN: &[&str] = &[
    "machines_of_a_pod_share_localhost",
    "a_machine_goes_from_pod_to_pod",
    "a_command_runs_as_the_user_it_names",
    "a_long_chain_of_snapshots_holds",
    "a_cache_directory_can_be_removed",
];

#[tokio::test(flavor = "multi_thread")]
async fn docker_keeps_the_contract_of_a_vm_backend() {
    keeps_the_contract(&Engine::docker(), OTHERWISE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_keeps_the_contract_of_a_vm_backend() {
    keeps_the_contract(&Engine::podman(), &[OTHERWISE, PODMAN].concat()).await;
}

async fn keeps_the_contract(engine: &Engine, otherwise: &[&str]) {
    let image = busybox(engine.directory.path());
    let configured = engine.directory.path().join("configured.tar");
    let built = ImageBuilder::busybox()
        .env("GREETING", "two words")
        .config("Entrypoint", serde_json::json!(["/bin/busybox"]))
        .config("Cmd", serde_json::json!(["echo", "hello"]))
        .config("User", serde_json::json!("nobody:nogroup"))
        .config("WorkingDir", serde_json::json!("/srv"));
    std::fs::write(&configured, built.build().docker_archive("configured:1")).unwrap();
    let config = ImageConfig {
        env: [
            ("GREETING", "two words"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        entrypoint: vec!["/bin/busybox".into()],
        cmd: ["echo", "hello"].map(Into::into).into(),
        user: Some("nobody:nogroup".into()),
        working_dir: Some("/srv".into()),
    };
    let data = engine.directory.path().join("hm");
    let only = std::env::var("HM_TEST_CASE").ok();
    for (number, (name, case)) in contract::CASES.iter().enumerate() {
        if otherwise.contains(name) || only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let backend = engine.backend(&data);
        let scratch = engine.directory.path().join(format!("scratch-{number}"));
        let subject = Subject::new(backend.clone(), image.clone(), scratch)
            .with_server(serve, probe)
            .with_configured(ImageReference::new(configured.to_string_lossy()), config.clone());
        eprintln!("{name}");
        let ended = tokio::time::timeout(PATIENCE, case(&subject)).await;
        assert!(ended.is_ok(), "{name}: it hangs");
        backend.shutdown().await;
        assert_eq!(
            engine.running(),
            Vec::<String>::new(),
            "{name}: containers are left"
        );
        for (snapshot, _) in backend.snapshots().await.unwrap() {
            backend.remove(&snapshot).await.unwrap();
        }
        for cache in backend.cache_directories().await.unwrap() {
            backend.remove_cache_directory(&cache.name).await.unwrap();
        }
    }
    let backend = engine.backend(&data);
    let images = backend.images().unwrap();
    for image in images.list().await.unwrap() {
        images.remove(&image.digest).await.unwrap();
    }
    backend.reclaim().await.unwrap();
    assert_eq!(engine.left(), Vec::<String>::new());
}

/// Says so once it serves.
fn serve(port: u16) -> String {
    format!(
        "(until netstat -ltn | grep -q :{port}; do sleep 0.05; done; echo serving) & exec nc -ll -p {port} -e echo pong"
    )
}

fn probe(host: &str, port: u16) -> String {
    format!("nc -w 5 {host} {port} < /dev/null")
}
