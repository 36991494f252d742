//! How long what was begun for a build may go on once nobody wants it.

use std::time::Duration;

use hm_vm::Cancel;

/// How long what was begun for a step may go on once nobody wants it: the machine of one, or keeping what one left.
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);

/// Does work, but only for a moment more once it is to end, and not at all once it is to end at once. What is left
/// half-done then is removed by a later run.
pub(super) async fn in_patience<T>(cancel: &Cancel, work: impl Future<Output = T>) -> Option<T> {
    let over = async {
        cancel.terminated().await;
        tokio::select! {
            () = cancel.killed() => {}
            () = tokio::time::sleep(PATIENCE) => {}
        }
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = over => None,
    }
}
