//! What comes from the server, in order; and out of it, before all else is told, what the agent says of itself.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use harmont_client::{BuildRecord, HarmontClient, HarmontError};
use hm_plugin_protocol::events::{BuildEvent, RunHeader};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Item = Result<BuildRecord, HarmontError>;

/// A build's records.
pub(super) struct Heard {
    records: BoxStream<'static, Item>,
    /// Taken from `records` already.
    early: VecDeque<Item>,
    /// What agents have said that their machines could not provide.
    told: HashSet<String>,
}

fn header(record: &BuildRecord) -> Option<&RunHeader> {
    match &record.event {
        Some(BuildEvent::BuildStart { header, .. }) => header.as_ref(),
        _ => None,
    }
}

impl Heard {
    pub(super) fn new(client: &HarmontClient, build: Uuid) -> Self {
        Self {
            records: client.build_records(build, 0),
            early: VecDeque::new(),
            told: HashSet::new(),
        }
    }

    /// What the first agent says of itself, if it comes soon. Nothing that comes is lost.
    pub(super) async fn agents_header(
        &mut self,
        patience: Duration,
        cancel: &CancellationToken,
    ) -> Option<RunHeader> {
        let until = tokio::time::sleep(patience);
        tokio::pin!(until);
        loop {
            let item = tokio::select! {
                item = self.records.next() => item?,
                () = cancel.cancelled() => return None,
                () = &mut until => return None,
            };
            let found = item.as_ref().ok().and_then(header).cloned();
            let over = item.is_err();
            self.early.push_back(item);
            if let Some(found) = found {
                self.told.extend(found.notices.iter().cloned());
                return Some(found);
            }
            if over {
                return None;
            }
        }
    }

    /// The next record.
    pub(super) async fn next(&mut self) -> Option<Item> {
        match self.early.pop_front() {
            Some(item) => Some(item),
            None => self.records.next().await,
        }
    }

    /// What an agent could not provide and nobody was told yet.
    pub(super) fn notices(&mut self, record: &BuildRecord) -> Vec<String> {
        let notices = header(record).map_or(&[][..], |header| &header.notices);
        let fresh = notices
            .iter()
            .filter(|notice| self.told.insert((*notice).clone()));
        fresh.cloned().collect()
    }
}
