//! The sending end of a build's events.

use hm_plugin_protocol::events::BuildEvent;
use tokio::sync::mpsc;

/// How many events wait for a renderer at most. A piece of a line is at most 64 KiB, so what waits is bounded
/// to 16 MiB of output.
pub(super) const CAPACITY: usize = 256;

/// Sends events, and waits where the receiver is slow. Once the receiver is gone, events go nowhere: the
/// scheduler notices by [`Sink::closed`] and ends the build.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    sender: mpsc::Sender<BuildEvent>,
}

impl Sink {
    pub(super) fn new() -> (Self, mpsc::Receiver<BuildEvent>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { sender }, receiver)
    }

    pub(super) async fn send(&self, event: BuildEvent) {
        // A receiver that is gone is no failure of the step that happened to notice.
        let _ = self.sender.send(event).await;
    }

    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}
