//! What a record of a build's log holds.

use bytes::Bytes;
use hm_plugin_protocol::events::BuildEvent;
use hm_plugin_protocol::old::OldEvent;
use serde::{Deserialize, Serialize};

/// A record of a build's log, as it is stored and as it is streamed to watchers: an event of the build, or
/// a note of the server about the build. One of the two is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The record's sequence number in the build's log, counted from 1.
    pub seq: u64,
    /// Which try at the build it belongs to, counted from 1; 0 before the first. A larger one than in the record before says that the build
    /// runs again from its start.
    pub attempt: i64,
    /// What the build did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<BuildEvent>,
    /// What happened to the build, in plain words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Record {
    /// An event.
    #[must_use]
    pub const fn event(seq: u64, attempt: i64, event: BuildEvent) -> Self {
        Self {
            seq,
            attempt,
            event: Some(event),
            note: None,
        }
    }

    /// A note.
    #[must_use]
    pub const fn note(seq: u64, attempt: i64, note: String) -> Self {
        Self {
            seq,
            attempt,
            event: None,
            note: Some(note),
        }
    }

    /// As it is stored: JSON on one line.
    ///
    /// # Errors
    /// Never for what has a JSON form, as every event has.
    pub fn encode(&self) -> serde_json::Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from)
    }

    /// The inverse of [`Record::encode`]. An event that an older version wrote is read as what it is today, and one of a kind
    /// that this version does not know is [`BuildEvent::Unknown`].
    ///
    /// # Errors
    /// When the bytes are no record.
    pub fn decode(bytes: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Old {
            event: OldEvent,
        }
        let mut record: Self = serde_json::from_slice(bytes)?;
        if let Some(BuildEvent::Unknown) = record.event
            && let Ok(old) = serde_json::from_slice::<Old>(bytes)
        {
            record.event = old.event.into_event().or(record.event);
        }
        Ok(record)
    }
}
