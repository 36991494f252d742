//! Holds a lease while its build runs.

use std::time::Duration;

use harmont_client::HarmontClient;
use harmont_client::agent::Lease;
use tokio_util::sync::CancellationToken;

/// Says again and again that the build is held, and cancels it when it is to be stopped or is another agent's. Ends
/// only by being dropped.
pub(super) async fn hold(client: &HarmontClient, lease: &Lease, cancel: &CancellationToken) -> ! {
    let pause = Duration::from_secs(lease.lease_seconds.max(3)) / 3;
    loop {
        tokio::time::sleep(pause).await;
        match client.hold(lease).await {
            Ok(true) => cancel.cancel(),
            Ok(false) => {}
            Err(error) if error.is_lost_lease() => {
                tracing::warn!(%error, build = %lease.build_id, "the build is another agent's now; stopping it here");
                cancel.cancel();
            }
            Err(error) => {
                tracing::warn!(%error, build = %lease.build_id, "the lease cannot be held; trying again");
            }
        }
    }
}
