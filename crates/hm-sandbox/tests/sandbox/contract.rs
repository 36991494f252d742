//! The sandbox keeps the contract of every `VmBackend`, whoever runs it.

use std::sync::Arc;

use hm_sandbox::{SandboxBackend, SandboxConfig};
use hm_vm::testing::contract::{self, Subject};
use hm_vm::{ImageReference, VmBackend};

use super::persons::everyone;
use super::support::World;

everyone![it_keeps_the_contract_of_a_vm_backend];

/// What no user has who is alone in the step.
const OTHER_USERS: &str = "a_command_runs_as_the_user_it_names";

fn backend(data: &std::path::Path) -> Arc<dyn VmBackend> {
    let config = SandboxConfig::new(data, std::env::var("PATH").unwrap());
    Arc::new(SandboxBackend::new(config).unwrap())
}

async fn it_keeps_the_contract_of_a_vm_backend(world: &World) {
    let ids = world.passes("cat /proc/self/uid_map").await;
    let alone = ids.split_whitespace().skip(2).eq(["1"]);
    for (name, case) in contract::CASES {
        if alone && *name == OTHER_USERS {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let backend = backend(&directory.path().join("data"));
        let subject = Subject::new(
            backend,
            ImageReference::new("host"),
            directory.path().join("scratch"),
        );
        contract::run(name, *case, &subject).await;
    }
}
