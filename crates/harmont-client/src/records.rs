//! A build's events, live: what hm's own server has beside the published API.

use eventsource_stream::Event;
use futures::StreamExt;
use futures::stream::BoxStream;
use hm_plugin_protocol::events::BuildEvent;
use serde::Deserialize;
use uuid::Uuid;

use crate::{HarmontClient, HarmontError, Result};

/// A record of a build's log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BuildRecord {
    /// Its number in the build's log, counted from 1.
    pub seq: u64,
    /// Which try at the build it belongs to, counted from 1; a larger one than before says that the build runs again
    /// from its start.
    pub attempt: i64,
    /// What the build did.
    pub event: Option<BuildEvent>,
    /// What happened to the build, in plain words.
    pub note: Option<String>,
}

/// Whether a stream ends with this record: `build_end` comes last, and once.
fn ends(event: &Event) -> bool {
    let record = serde_json::from_str::<BuildRecord>(&event.data);
    matches!(
        record,
        Ok(BuildRecord {
            event: Some(BuildEvent::BuildEnd { .. }),
            ..
        })
    )
}

impl HarmontClient {
    /// Every record of the log of the build with this id ([`crate::models::Build::id`]) after the number `after`, and on
    /// as they come, to the last. A connection that breaks is made anew: no record is lost and none comes twice.
    ///
    /// An item that is an error is the last.
    pub fn build_records(&self, build: Uuid, after: u64) -> BoxStream<'static, Result<BuildRecord>> {
        let build = build.to_string();
        let path = ["hm", "v1", "builds", &build, "events"];
        let after_id = (after > 0).then(|| after.to_string());
        let mut told = after;
        self.follow(&path, Vec::new(), after_id, ends)
            .filter_map(move |event| {
                let record = match event {
                    Err(error) => Some(Err(error)),
                    Ok(event) => match serde_json::from_str::<BuildRecord>(&event.data) {
                        Err(error) => Some(Err(HarmontError::Decode {
                            url: "a build's events".into(),
                            reason: error.to_string(),
                        })),
                        Ok(record) if record.seq <= told => None,
                        Ok(record) => {
                            told = record.seq;
                            Some(Ok(record))
                        }
                    },
                };
                futures::future::ready(record)
            })
            .boxed()
    }
}
