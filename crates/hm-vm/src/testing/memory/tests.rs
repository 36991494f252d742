//! The double keeps the contract, but for what needs real processes.

use std::sync::Arc;

use super::MemoryBackend;
use crate::ImageReference;
use crate::testing::contract::{CASES, Subject, run};

#[tokio::test]
async fn the_double_keeps_the_contract() {
    let mut kept = 0;
    for (name, case) in CASES {
        if *name == "nothing_of_a_command_outlives_it" {
            continue;
        }
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let subject = Subject::new(
            Arc::new(MemoryBackend::new()),
            ImageReference::new("host"),
            scratch.path(),
        );
        run(name, *case, &subject).await;
        kept += 1;
    }
    assert_eq!(kept, CASES.len() - 1);
}
