use std::collections::VecDeque;
use std::io::{self, BufRead};

use hm_plugin_protocol::events::BuildEvent;
use hm_plugin_protocol::old::Upgrade;

/// The events of a record: what `json` wrote, one event a line. Blank lines and kinds that this version does not know are skipped,
/// and a record of an older version is read as one of today's.
/// A last line that was cut off (its writer was killed) ends the record without an error.
pub fn read_events<R: BufRead>(record: R) -> Events<R> {
    Events {
        record,
        line: Vec::new(),
        number: 0,
        upgrade: Upgrade::default(),
        ready: VecDeque::new(),
        over: false,
    }
}

/// An iterator over a record's events; see [`read_events`].
#[derive(Debug)]
pub struct Events<R> {
    record: R,
    line: Vec<u8>,
    number: u64,
    upgrade: Upgrade,
    ready: VecDeque<BuildEvent>,
    over: bool,
}

impl<R: BufRead> Events<R> {
    /// Reads one more line.
    fn read(&mut self) -> io::Result<()> {
        self.line.clear();
        self.over = self.record.read_until(b'\n', &mut self.line)? == 0;
        self.number += 1;
        if !self.line.iter().all(u8::is_ascii_whitespace) {
            match self.upgrade.line(&self.line, &mut self.ready) {
                Ok(()) => {}
                Err(_) if !self.line.ends_with(b"\n") => self.over = true,
                Err(error) => {
                    let number = self.number;
                    let message = format!("line {number} of the record is not a build event: {error}");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
            }
        }
        if self.over {
            self.upgrade.finish(&mut self.ready);
        }
        Ok(())
    }
}

impl<R: BufRead> Iterator for Events<R> {
    type Item = io::Result<BuildEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.ready.pop_front() {
                Some(BuildEvent::Unknown) => {}
                Some(event) => return Some(Ok(event)),
                None if self.over => return None,
                None => {
                    if let Err(error) = self.read() {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}
