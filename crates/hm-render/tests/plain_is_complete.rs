//! `plain` delivers every byte of every line once, in order for each step and stream.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod record;

use std::collections::HashMap;

use hm_plugin_protocol::events::{BuildEvent, RunHeader, StdStream};
use hm_render::{Format, Options, replay};
use proptest::prelude::*;

/// What each step wrote, read back from the text alone: pieces of a cut line are put together again. A step writes to one stream
/// here, since `plain` does not tell the two apart.
fn read_back(text: &str) -> HashMap<String, Vec<String>> {
    let mut steps: HashMap<String, Vec<String>> = HashMap::new();
    for line in text.lines().filter(|line| line.starts_with('[')) {
        let (key, rest) = line[1..].split_once(']').unwrap();
        let lines = steps.entry(key.to_owned()).or_default();
        match rest.strip_prefix("+ ") {
            Some(rest) => {
                let open = lines.last_mut().unwrap();
                let without_mark = open.strip_suffix(" \\").unwrap().to_owned();
                *open = without_mark + rest;
            }
            None => lines.push(rest.strip_prefix(' ').unwrap().to_owned()),
        }
    }
    steps
}

fn outputs() -> impl Strategy<Value = Vec<(usize, String, bool)>> {
    prop::collection::vec(
        (
            0_usize..4,
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
        let mut open = [false; 4];
        for (n, text, partial) in &outputs {
            let stream = if n % 2 == 0 { StdStream::Stdout } else { StdStream::Stderr };
            events.push(record::piece(*n, stream, text, *partial));
            let lines = expected.entry(format!("s{n}")).or_default();
            match (open[*n], lines.last_mut()) {
                (true, Some(line)) => line.push_str(text),
                _ => lines.push(text.clone()),
            }
            open[*n] = *partial;
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
        for (n, open) in open.iter().enumerate() {
            if let (true, Some(lines), Some(wanted)) = (*open, read.get_mut(&format!("s{n}")), expected.get(&format!("s{n}"))) {
                let last = lines.last_mut().unwrap();
                if last.strip_suffix(" \\") == wanted.last().map(String::as_str) {
                    last.truncate(last.len() - 2);
                }
            }
        }
        prop_assert_eq!(read, expected, "{}", text);
    }
}
