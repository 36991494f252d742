//! The sending end of a build's events.

use hm_plugin_protocol::events::BuildEvent;
use tokio::sync::mpsc;

use super::scrub::{Mask, Scrubber};

/// How many events wait for a renderer at most. A piece of a line is at most 64 KiB, so what waits is bounded
/// to 16 MiB of output.
pub(super) const CAPACITY: usize = 256;

/// Masks the run's secrets in events and sends them, and waits where the receiver is slow. Once the receiver is gone, events go nowhere: the
/// scheduler notices by [`Sink::closed`] and ends the build.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    sender: mpsc::Sender<BuildEvent>,
    scrubber: Scrubber,
}

impl Sink {
    pub(super) fn new(scrubber: Scrubber) -> (Self, mpsc::Receiver<BuildEvent>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { sender, scrubber }, receiver)
    }

    /// What masks one stream of bytes, before it is cut into lines and these are sent.
    pub(super) fn mask(&self) -> Mask {
        self.scrubber.mask()
    }

    /// Sends an event with its texts masked.
    pub(super) async fn send(&self, mut event: BuildEvent) {
        self.scrubber.event(&mut event);
        // A receiver that is gone is no failure of the step that happened to notice.
        let _ = self.sender.send(event).await;
    }

    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}
