//! A build's events, live: what hm's own server has beside the published API.

use std::collections::VecDeque;

use eventsource_stream::Event;
use futures::stream::BoxStream;
use hm_plugin_protocol::events::BuildEvent;
use hm_plugin_protocol::old::{OldEvent, Upgrade};
use reqwest::{Method, Response};
use serde::Deserialize;
use uuid::Uuid;

use crate::sse::{Read, Subject};
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

/// A build's records, read so far.
struct Records {
    client: HarmontClient,
    build: String,
    /// The number of the last one; 0 before the first.
    last: u64,
    /// The attempt that it belongs to.
    attempt: i64,
    upgrade: Upgrade,
}

/// A record of before version 2 of the events.
#[derive(Deserialize)]
struct OldRecord {
    event: OldEvent,
}

impl Subject for Records {
    type Item = BuildRecord;

    async fn open(&mut self) -> Result<Response> {
        let path = ["hm", "v1", "builds", &self.build, "events"];
        let mut request = self.client.request_to(Method::GET, &path)?;
        if self.last > 0 {
            request = request.header("Last-Event-ID", self.last);
        }
        self.client.open_events(request).await
    }

    fn read(&mut self, event: &Event) -> Result<Read<BuildRecord>> {
        let record = serde_json::from_str::<BuildRecord>(&event.data);
        let record = record.map_err(|error| HarmontError::Decode {
            url: "a build's events".into(),
            reason: error.to_string(),
        })?;
        // `build_end` comes last, and once.
        let over = matches!(record.event, Some(BuildEvent::BuildEnd { .. }));
        if record.seq <= self.last {
            return Ok(Read {
                items: Vec::new(),
                over,
            });
        }
        self.last = record.seq;
        Ok(Read {
            items: self.upgraded(record, &event.data),
            over,
        })
    }
}

impl Records {
    /// The records that are complete with this one. A kind that this version does not know is passed over.
    fn upgraded(&mut self, mut record: BuildRecord, json: &str) -> Vec<BuildRecord> {
        let mut events = VecDeque::new();
        if record.attempt != self.attempt {
            self.attempt = record.attempt;
            self.upgrade.finish(&mut events);
        }
        match record.event.take() {
            Some(BuildEvent::Unknown) => {
                let old = serde_json::from_str::<OldRecord>(json).ok();
                self.upgrade.unknown(old.map(|old| old.event), &mut events);
            }
            Some(event) => self.upgrade.event(event, &mut events),
            None => {}
        }
        let mut items = Vec::new();
        for event in events {
            if event != BuildEvent::Unknown {
                items.push(BuildRecord {
                    event: Some(event),
                    note: None,
                    ..record
                });
            }
        }
        if record.note.is_some() {
            items.push(record);
        }
        items
    }
}

impl HarmontClient {
    /// Every record of the log of the build with this id ([`crate::models::Build::id`]) after the number `after`, and on
    /// as they come, to the last. A connection that breaks is made anew: no record is lost and none comes twice.
    ///
    /// An item that is an error is the last.
    pub fn build_records(&self, build: Uuid, after: u64) -> BoxStream<'static, Result<BuildRecord>> {
        self.follow(Records {
            client: self.clone(),
            build: build.to_string(),
            last: after,
            attempt: 0,
            upgrade: Upgrade::default(),
        })
    }
}
