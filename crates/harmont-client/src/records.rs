//! A build's events, live: what hm's own server has beside the published API.

use futures::StreamExt;
use futures::stream::BoxStream;
use hm_plugin_protocol::events::BuildEvent;
use serde::Deserialize;

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

/// The event that is the last of a stream.
const LAST: &str = "done";

impl HarmontClient {
    /// Every record of a build's log after the number `after`, and on as they come, to the last. A connection that
    /// breaks is made anew: no record is lost and none comes twice.
    ///
    /// An item that is an error is the last.
    pub fn build_records(
        &self,
        org: &str,
        pipeline: &str,
        number: i64,
        after: u64,
    ) -> BoxStream<'static, Result<BuildRecord>> {
        let number = number.to_string();
        let path = [
            "organizations",
            org,
            "pipelines",
            pipeline,
            "builds",
            &number,
            "events",
        ];
        let after_id = (after > 0).then(|| after.to_string());
        let mut told = after;
        self.follow(&path, Vec::new(), after_id, LAST)
            .filter_map(move |event| {
                let record = match event {
                    Err(error) => Some(Err(error)),
                    Ok(event) if event.event == LAST => None,
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
