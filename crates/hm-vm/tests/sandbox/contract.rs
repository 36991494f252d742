//! The sandbox keeps the contract of every `VmBackend`.

use std::sync::Arc;

use hm_vm::sandbox::{SandboxBackend, SandboxConfig};
use hm_vm::testing::contract::{self, Subject};
use hm_vm::{ImageReference, VmBackend};

fn backend(data: &std::path::Path) -> Arc<dyn VmBackend> {
    let config = SandboxConfig::new(data, std::env::var("PATH").unwrap());
    Arc::new(SandboxBackend::new(config).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_a_vm_backend() {
    for (name, case) in contract::CASES {
        let directory = tempfile::tempdir().unwrap();
        let backend = backend(&directory.path().join("data"));
        let subject = Subject::new(
            backend,
            ImageReference::new("host"),
            directory.path().join("scratch"),
        );
        eprintln!("{name}");
        contract::run(name, *case, &subject).await;
    }
}
