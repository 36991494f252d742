//! One small build for tests of the cloud, and what its log and its watchers must be told however often it was begun.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use harmont_client::BuildRecord;
use hm_exec::testing::{PlanWriter, StepWriter, check_order};
use hm_plugin_protocol::events::BuildEvent;
use uuid::Uuid;

/// Steps of some lines each, one of which takes a second.
pub fn plan() -> PlanWriter {
    PlanWriter::of([
        StepWriter::new("first", "seq 20"),
        StepWriter::new("slow", "for n in $(seq 10); do echo slow-$n; sleep 0.1; done").builds_in("first"),
        StepWriter::new("other", "seq 100 139; cat source.txt").builds_in("first"),
        StepWriter::new("last", "seq 3 >&2")
            .builds_in("slow")
            .after("other"),
    ])
}

/// What each step says.
fn lines(key: &str) -> Vec<String> {
    let numbers = |numbers: std::ops::RangeInclusive<u32>| numbers.map(|n| n.to_string());
    match key {
        "first" => numbers(1..=20).collect(),
        "slow" => (1..=10).map(|n| format!("slow-{n}")).collect(),
        "other" => numbers(100..=139).chain(["the source".to_owned()]).collect(),
        "last" => numbers(1..=3).collect(),
        other => panic!("no step {other}"),
    }
}

/// A build's log as the server keeps it.
pub fn stored(server: &Path, build: Uuid) -> Vec<BuildRecord> {
    let name = build.to_string();
    let directory = server.join("logs").join(&name[name.len() - 2..]).join(&name);
    let mut segments: Vec<_> = fs::read_dir(directory)
        .expect("a log")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    segments.sort();
    let text: String = segments
        .iter()
        .map(|segment| fs::read_to_string(segment).expect("UTF-8"))
        .collect();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// A log in few words.
pub fn show(records: &[BuildRecord]) -> String {
    let lines = records.iter().map(|record| {
        let what = serde_json::to_string(&record.event).expect("JSON");
        let what: String = what.chars().take(160).collect();
        let note = record.note.as_deref().unwrap_or_default();
        format!("{} {} {note}{what}\n", record.seq, record.attempt)
    });
    lines.collect()
}

/// Checks a whole log: numbered without a gap, its attempts one after another, ended once, and its last attempt told
/// whole where the build passed. Answers each step's exit code in the last attempt; none where it did not end.
pub fn check(records: &[BuildRecord], passed: bool) -> Result<BTreeMap<String, Option<i32>>, String> {
    for (record, seq) in records.iter().zip(1..) {
        if record.seq != seq {
            return Err(format!("record {} is at place {seq}", record.seq));
        }
    }
    if let Some(pair) = records.windows(2).find(|pair| pair[1].attempt < pair[0].attempt) {
        return Err(format!("record {} is of an earlier attempt", pair[1].seq));
    }
    let is_end = |event: &BuildEvent| matches!(event, BuildEvent::BuildEnd { .. });
    let ends = records
        .iter()
        .filter_map(|record| record.event.as_ref())
        .filter(|event| is_end(event));
    let last = records.last().ok_or("the log is empty")?;
    if ends.count() != 1 || !last.event.as_ref().is_some_and(is_end) {
        return Err("build_end is not there once, at the end".into());
    }
    let of_last = records.iter().filter(|record| record.attempt == last.attempt);
    let events: Vec<BuildEvent> = of_last.filter_map(|record| record.event.clone()).collect();
    if passed {
        check_told(&events, true)?;
    }
    let mut codes: BTreeMap<String, Option<i32>> = BTreeMap::new();
    for key in ["first", "slow", "other", "last"] {
        codes.insert(key.into(), code(&events, key));
    }
    Ok(codes)
}

fn id(events: &[BuildEvent], wanted: &str) -> Option<Uuid> {
    events.iter().find_map(|event| match event {
        BuildEvent::StepQueued { step_id, key, .. } if key == wanted => Some(*step_id),
        _ => None,
    })
}

fn code(events: &[BuildEvent], key: &str) -> Option<i32> {
    let id = id(events, key)?;
    events.iter().find_map(|event| match event {
        BuildEvent::StepEnd {
            step_id, exit_code, ..
        } if *step_id == id => Some(*exit_code),
        _ => None,
    })
}

/// Checks what was told of a build: in order, and of each step what its last try said, each line once.
pub fn check_told(events: &[BuildEvent], passed: bool) -> Result<(), String> {
    let graph = plan().plan().graph;
    let ends = events
        .iter()
        .filter(|event| matches!(event, BuildEvent::BuildEnd { .. }));
    if ends.count() != 1 {
        return Err("build_end is not told once".into());
    }
    if !passed {
        return Ok(());
    }
    check_order(events, &graph)?;
    for (_, step) in graph.steps() {
        let key = step.key.as_str();
        let id = id(events, key);
        let mut told = Vec::new();
        for event in events {
            match event {
                BuildEvent::StepLog { line, .. } if event.step_id() == id && !line.starts_with("hm: ") => {
                    told.push(line.clone());
                }
                BuildEvent::StepStart { attempt: Some(_), .. } if event.step_id() == id => told.clear(),
                _ => {}
            }
        }
        if told != lines(key) {
            return Err(format!("step `{key}` says {told:?}"));
        }
    }
    Ok(())
}
