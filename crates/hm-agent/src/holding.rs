//! Holds a lease while its build runs.

use std::time::Duration;

use harmont_client::HarmontClient;
use harmont_client::agent::Lease;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long one poll waits, for a build or for what holds one.
pub(super) const POLL: Duration = Duration::from_secs(25);

/// Says again and again that the build is held, and cancels it when it is to be stopped or is another agent's. Ends
/// only by being dropped.
///
/// The server answers at once when the build is to be stopped, and else after a third of the lease or as long as a poll
/// takes. One that does not wait is asked no more often.
pub(super) async fn hold(client: &HarmontClient, lease: &Lease, cancel: &CancellationToken) -> ! {
    let pause = (Duration::from_secs(lease.lease_seconds.max(3)) / 3).min(POLL);
    loop {
        let next = Instant::now() + pause;
        match client.hold(lease, pause).await {
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
        tokio::time::sleep_until(next).await;
    }
}
