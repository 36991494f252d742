//! The local backend keeps the contract of execution backends.

use std::sync::Arc;

use hm_exec::testing::contract::{Subject, run_all};

use crate::support::Bench;

#[tokio::test(start_paused = true)]
async fn the_local_backend_keeps_the_contract() {
    let mut benches = Vec::new();
    run_all(async || {
        let bench = Bench::new();
        let subject = Subject::new(Arc::new(bench.backend.clone()), bench.tree());
        benches.push(bench);
        subject
    })
    .await;
    assert!(benches.iter().all(|bench| bench.vm.counters().live == 0));
}
