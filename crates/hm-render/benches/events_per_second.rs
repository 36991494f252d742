//! How many events a second each renderer takes. Prints; asserts nothing.
#![expect(clippy::print_stdout, reason = "a bench reports on its standard output")]

use std::time::Instant;

use chrono::DateTime;
use hm_plugin_protocol::events::{BuildEvent, PlanSummary, StdStream};
use hm_render::{Format, Logs, Options, replay};
use uuid::Uuid;

const LINES: usize = 300_000;

fn events() -> Vec<BuildEvent> {
    let ts = DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default();
    let step_id = Uuid::from_u128(1);
    let plan = PlanSummary {
        step_count: 1,
        chain_count: 1,
        default_runner: "local".into(),
    };
    let mut events = vec![
        BuildEvent::BuildStart {
            run_id: Uuid::from_u128(7),
            plan,
            started_at: ts,
            schema_version: None,
            header: None,
        },
        BuildEvent::StepQueued {
            step_id,
            key: "build".into(),
            chain_idx: 0,
            parent_key: None,
            display_name: "build".into(),
            command: None,
        },
        BuildEvent::StepStart {
            step_id,
            runner: "local".into(),
            image: None,
            cache_miss: None,
            attempt: None,
            previous_exit_code: None,
        },
    ];
    events.extend((0..LINES).map(|n| BuildEvent::StepLog {
        step_id,
        stream: StdStream::Stdout,
        line: format!("{n} Compiling something-or-other v1.2.{n} (/workspace/crates/something)"),
        ts,
        partial: false,
        service: None,
        attempt: None,
    }));
    events.push(BuildEvent::BuildEnd {
        exit_code: 0,
        duration_ms: 1,
    });
    events
}

fn main() -> std::io::Result<()> {
    let events = events();
    for (name, format, logs) in [
        ("json", Format::Json, None),
        ("plain", Format::Plain, None),
        ("human, all logs", Format::Human, Some(Logs::All)),
        ("human, failed logs", Format::Human, Some(Logs::Failed)),
        ("junit", Format::Junit, None),
    ] {
        let screen: hm_render::Screen = Box::new(|| (120, 40));
        let options = Options {
            logs,
            screen: Some(screen),
            ..Options::default()
        };
        let out = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
        let mut renderer = format.renderer(out, options);
        let copy: Vec<_> = events.iter().cloned().map(Ok).collect();
        let begin = Instant::now();
        replay(copy, renderer.as_mut())?;
        let each = begin.elapsed().as_nanos() / events.len() as u128;
        println!(
            "{name:20} {each:6} ns an event, {:9} events/s",
            1_000_000_000 / each.max(1)
        );
    }
    Ok(())
}
