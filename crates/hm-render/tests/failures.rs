//! What is said about failed steps, and in the reports, when there is more than usual to say.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod record;

use hm_plugin_protocol::events::{BuildEvent, BuildRef, RunHeader, StdStream, StepEndStatus};
use hm_render::{Format, Logs, Options, replay};
use record::{ended, log, queued, start, started};

fn rendered(format: Format, options: Options, events: Vec<BuildEvent>) -> String {
    let out = record::Shared::default();
    let mut renderer = format.renderer(out.clone(), options);
    replay(events.into_iter().map(Ok), renderer.as_mut()).unwrap();
    out.text()
}

fn failing(keys: &[&str]) -> Vec<BuildEvent> {
    let mut events = vec![start(keys.len(), RunHeader::default())];
    for (n, key) in keys.iter().enumerate() {
        events.extend([
            queued(n, key, key, "false"),
            started(n, None),
            log(n, StdStream::Stderr, "no"),
            ended(n, 1, StepEndStatus::Failed),
        ]);
    }
    events.push(BuildEvent::BuildEnd {
        exit_code: 1,
        duration_ms: 10,
    });
    events
}

#[test]
fn five_failures_in_full_and_a_line_for_each_other() {
    let text = rendered(
        Format::Plain,
        Options::default(),
        failing(&["a", "b", "c", "d", "e", "f", "g"]),
    );
    assert_eq!(
        text.matches("  output: 1 line above; hm logs 1a2b3c4d/").count(),
        5
    );
    assert_eq!(text.matches("hm rerun --from").count(), 5);
    let end = &text[text.find("2 more failed").unwrap()..];
    insta::assert_snapshot!(end, @r"
    2 more failed:
    x f failed with exit code 1 after 1.2s  hm shell 1a2b3c4d/f
    x g failed with exit code 1 after 1.2s  hm shell 1a2b3c4d/g

    hm: failed after 10ms: 7 failed
    ");
}

#[test]
fn what_failed_on_a_server_is_not_looked_for_here() {
    let mut events = failing(&["a", "b", "c", "d", "e", "f"]);
    let accepted = BuildEvent::BuildAccepted {
        build: BuildRef {
            run_id: record::run_id(),
            number: Some(7),
            org: Some("team".into()),
            pipeline: "ci".into(),
        },
        watch_url: None,
    };
    events.insert(1, accepted);
    let text = rendered(Format::Plain, Options::default(), events);
    assert_eq!(text.matches("    hm run; hm shell ").count(), 5, "{text}");
    assert!(!text.contains("hm shell 1a2b3c4d"), "{text}");
}

#[test]
fn without_logs_not_even_the_block_has_output() {
    let options = Options {
        logs: Some(Logs::None),
        ..Options::default()
    };
    let text = rendered(Format::Plain, options, failing(&["a"]));
    insta::assert_snapshot!(text, @r"
    hm: run 1a2b3c4d, 1 step
    hm: a started
    hm: a failed with exit code 1 after 1.2s

    x a failed with exit code 1 after 1.2s
      command: false
      a shell where it failed:
        hm shell 1a2b3c4d/a
      run it again from there:
        hm rerun --from a

    hm: failed after 10ms: 1 failed
    ");
}

#[test]
fn a_step_that_left_nothing_offers_where_it_began() {
    let mut events = failing(&["a"]);
    for event in &mut events {
        if let BuildEvent::StepEnd { snapshot, .. } = event {
            *snapshot = None;
        }
    }
    let text = rendered(Format::Plain, Options::default(), events);
    assert!(
        text.contains("nothing of it could be kept; a shell where it began:\n    hm shell "),
        "{text}"
    );
    assert!(
        text.contains("/a@before\n") && !text.contains("where it failed"),
        "{text}"
    );
}

#[test]
fn a_key_cannot_leave_its_place() {
    let keys = ["it's", "$(reboot)", "-x", "two\nlines", "\x1b[2Jclear"];
    let text = rendered(Format::Plain, Options::default(), failing(&keys));
    assert!(!text.contains('\x1b'));
    let pasted: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("    hm rerun"))
        .collect();
    insta::assert_snapshot!(pasted.join("\n"), @r#"
    --from "it's"
    --from '$(reboot)'
    --from=-x
    --from 'two lines'
    --from clear
    "#);
}

#[test]
fn a_report_is_xml_whatever_a_step_prints() {
    let mut events = failing(&["a<b>&\"c\"", "\u{1}\u{b}"]);
    events.insert(
        3,
        log(0, StdStream::Stdout, "]]> <x> & \u{0}\u{8}\u{1b}[31m\u{fffe} ok"),
    );
    let text = rendered(Format::Junit, Options::default(), events);
    assert!(
        !text
            .chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{fffe}'),
        "{text:?}"
    );
    assert!(text.contains("a&lt;b&gt;&amp;&quot;c&quot;"), "{text}");
    assert!(text.contains("]]&gt; &lt;x&gt; &amp; \u{fffd} ok"), "{text}");
}

#[test]
fn a_record_that_stops_early_says_so() {
    let mut events = failing(&["a", "b"]);
    events.truncate(7);
    let text = rendered(Format::Plain, Options::default(), events.clone());
    insta::assert_snapshot!(text.lines().last().unwrap(), @r"
    hm: the events stop before the build's end: 1 failed, 1 never ended
    ");
    let text = rendered(Format::Junit, Options::default(), events);
    assert!(text.contains("never ended"), "{text}");
}
