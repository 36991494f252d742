//! `plain` delivers every byte of every line once, in order for each step and stream.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod record;

use std::collections::HashMap;

use hm_plugin_protocol::events::{BuildEvent, RunHeader, StdStream};
use hm_render::{Format, Options, replay};
use proptest::prelude::*;

/// What each step and its service wrote, read back from the text alone: pieces of a cut line are put together again. A step writes to one stream
/// here, since `plain` does not tell the two apart.
fn read_back(text: &str) -> HashMap<String, Vec<String>> {
    let mut steps: HashMap<String, Vec<String>> = HashMap::new();
    for line in text.lines().filter(|line| line.starts_with('[')) {
        let (key, rest) = line[1..].split_once(']').unwrap();
        let (goes_on, rest) = rest.split_once(' ').unwrap();
        // No line here has a bar of its own.
        let (key, rest) = match rest.strip_prefix("db | ") {
            Some(rest) => (format!("{key}/db"), rest),
            None => (key.to_owned(), rest),
        };
        let lines = steps.entry(key).or_default();
        match goes_on {
            "+" => {
                let open = lines.last_mut().unwrap();
                let without_mark = open.strip_suffix(" \\").unwrap().to_owned();
                *open = without_mark + rest;
            }
            _ => lines.push(rest.to_owned()),
        }
    }
    steps
}

fn outputs() -> impl Strategy<Value = Vec<(usize, bool, String, bool)>> {
    prop::collection::vec(
        (
            0_usize..4,
            prop::bool::weighted(0.3),
            "[a-z \\\\+\\[\\]é日\t]{0,12}",
            prop::bool::weighted(0.4),
        ),
        0..60,
    )
}

proptest! {
    #[test]
    fn every_line_once_and_in_order(outputs in outputs()) {
        let mut events = vec![record::start(4, RunHeader::default())];
        for n in 0..4 {
            events.push(record::queued(n, &format!("s{n}"), "", ""));
            events.push(record::started(n, None));
        }
        let mut expected: HashMap<String, Vec<String>> = HashMap::new();
        let mut open: HashMap<String, bool> = HashMap::new();
        for (n, of_service, text, partial) in &outputs {
            let stream = if n % 2 == 0 { StdStream::Stdout } else { StdStream::Stderr };
            let key = if *of_service {
                events.push(record::service(*n, "db", text, *partial));
                format!("s{n}/db")
            } else {
                events.push(record::piece(*n, stream, text, *partial));
                format!("s{n}")
            };
            let open = open.entry(key.clone()).or_default();
            let lines = expected.entry(key).or_default();
            match (*open, lines.last_mut()) {
                (true, Some(line)) => line.push_str(text),
                _ => lines.push(text.clone()),
            }
            *open = *partial;
        }
        for n in 0..4 {
            events.push(record::ended(n, 0, hm_plugin_protocol::events::StepEndStatus::Passed));
        }
        events.push(BuildEvent::BuildEnd { exit_code: 0, duration_ms: 1 });
        let out = record::Shared::default();
        let mut renderer = Format::Plain.renderer(out.clone(), Options::default());
        replay(events.into_iter().map(Ok), renderer.as_mut()).unwrap();
        let text = out.text();
        let mut read = read_back(&text);
        // A line that was cut and whose step ended before it went on keeps its mark.
        for key in open.iter().filter(|(_, open)| **open).map(|(key, _)| key) {
            if let (Some(lines), Some(wanted)) = (read.get_mut(key), expected.get(key)) {
                let last = lines.last_mut().unwrap();
                if last.strip_suffix(" \\") == wanted.last().map(String::as_str) {
                    last.truncate(last.len() - 2);
                }
            }
        }
        prop_assert_eq!(read, expected, "{}", text);
    }
}
