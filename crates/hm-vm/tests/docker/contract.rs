//! Docker keeps the contract of every `VmBackend`.

use std::time::{Duration, Instant};

use hm_vm::testing::contract::{self, Subject};

use crate::support::{Engine, busybox};

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_a_vm_backend() {
    let engine = Engine::docker();
    let image = busybox(engine.directory.path());
    let data = engine.directory.path().join("hm");
    let only = std::env::var("HM_CASE").ok();
    for (number, (name, case)) in contract::CASES.iter().enumerate() {
        if only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let backend = engine.backend(&data);
        let scratch = engine.directory.path().join(format!("scratch-{number}"));
        let subject = Subject::new(backend.clone(), image.clone(), scratch);
        let begun = Instant::now();
        eprint!("{name} ");
        contract::run(name, *case, &subject).await;
        backend.shutdown().await;
        eprintln!("{:?}", begun.elapsed());
    }
    let _ = Duration::ZERO;
    assert_eq!(engine.holds(&["ps", "-aq"]), Vec::<String>::new());
}
