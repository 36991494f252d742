use std::io::{self, BufRead};

use hm_plugin_protocol::events::BuildEvent;
use serde_json::Value;

/// The events of a record: what `json` wrote, one event a line. Blank lines and kinds that this version does not know are skipped.
/// A last line that was cut off (its writer was killed) ends the record without an error.
pub fn read_events<R: BufRead>(record: R) -> Events<R> {
    Events {
        record,
        line: Vec::new(),
        number: 0,
    }
}

/// An iterator over a record's events; see [`read_events`].
#[derive(Debug)]
pub struct Events<R> {
    record: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Iterator for Events<R> {
    type Item = io::Result<BuildEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.line.clear();
            match self.record.read_until(b'\n', &mut self.line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
            self.number += 1;
            if self.line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match serde_json::from_slice::<BuildEvent>(&self.line) {
                Ok(event) => return Some(Ok(event)),
                Err(_) if !self.line.ends_with(b"\n") => return None,
                Err(_) if is_unknown_kind(&self.line) => {}
                Err(error) => {
                    let number = self.number;
                    let message = format!("line {number} of the record is not a build event: {error}");
                    return Some(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
                }
            }
        }
    }
}

/// Whether this is an event of a newer version: well-formed and tagged, with a kind that is not ours.
fn is_unknown_kind(line: &[u8]) -> bool {
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(line) else {
        return false;
    };
    let Some(Value::String(kind)) = object.get("kind") else {
        return false;
    };
    let probe = serde_json::json!({ "kind": kind });
    match serde_json::from_value::<BuildEvent>(probe) {
        Ok(_) => false,
        Err(error) => error.to_string().starts_with("unknown variant"),
    }
}
