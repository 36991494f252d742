//! The contract of execution backends.

use std::sync::Arc;

use hm_exec::testing::contract;

use crate::support::Bench;

#[tokio::test]
async fn the_sandbox_keeps_the_contract_of_builds() {
    let mut benches = Vec::new();
    contract::run_all(async || {
        let bench = Bench::new();
        let subject = contract::Subject::new(Arc::new(bench.backend.clone()), bench.tree());
        benches.push(bench);
        subject
    })
    .await;
}
