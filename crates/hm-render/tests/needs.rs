//! Services, artifacts and test reports: what is said of them, and that nothing they send grows without limit or leaves its place.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod record;

use hm_plugin_protocol::events::{
    Artifact, ArtifactPattern, BuildEvent, MoreArtifacts, RunHeader, StepEndStatus, TestSummary,
};
use hm_render::{BuildState, Format, Logs, Options, Style, replay};
use record::{artifact, cached, ended_with, id, image, queued, retried, service, start, started, tests};

fn rendered(format: Format, options: Options, events: Vec<BuildEvent>) -> String {
    let out = record::Shared::default();
    let mut renderer = format.renderer(out.clone(), options);
    replay(events.into_iter().map(Ok), renderer.as_mut()).unwrap();
    out.text()
}

/// A build of one step, in which these events come.
fn one_step(events: impl IntoIterator<Item = BuildEvent>, status: StepEndStatus) -> Vec<BuildEvent> {
    one_step_with(events, status, vec![])
}

fn one_step_with(
    events: impl IntoIterator<Item = BuildEvent>,
    status: StepEndStatus,
    artifacts: Vec<Artifact>,
) -> Vec<BuildEvent> {
    let exit_code = i32::from(status != StepEndStatus::Passed);
    let mut all = vec![
        start(1, RunHeader::default()),
        queued(0, "test", "test", "make test"),
        started(0, None),
    ];
    all.extend(events);
    all.push(ended_with(0, exit_code, status, artifacts));
    all.push(BuildEvent::BuildEnd {
        exit_code,
        duration_ms: 10,
    });
    all
}

fn applied(events: &[BuildEvent]) -> BuildState {
    let mut state = BuildState::default();
    events.iter().for_each(|event| state.apply(event));
    state
}

#[test]
fn artifacts_are_a_line_for_each_pattern() {
    let artifacts = (0..3000).map(|n| artifact(&format!("report/{n}.xml"), 1000, None));
    let mut events = one_step_with([], StepEndStatus::Passed, artifacts.collect());
    let pattern = |pattern: &str, count, bytes| ArtifactPattern {
        pattern: pattern.into(),
        count,
        bytes,
    };
    for event in &mut events {
        if let BuildEvent::StepEnd {
            artifact_patterns,
            more_artifacts,
            ..
        } = event
        {
            *artifact_patterns = vec![
                pattern("report/**/*.xml", 3000, 3_000_000),
                pattern("dist/a.tar.gz", 1, 12),
            ];
            *more_artifacts = Some(MoreArtifacts {
                count: 1,
                bytes: 12,
                tests: None,
            });
        }
    }
    let text = rendered(Format::Plain, Options::default(), events);
    let end = &text[text.find("hm: artifacts").unwrap()..];
    insta::assert_snapshot!(end, @r"
    hm: artifacts: 3001 files, 2.9 MiB; hm artifacts 1a2b3c4d
    hm:      2.9 MiB  report/**/*.xml: 3000 files
    hm:         12 B  dist/a.tar.gz
    hm: passed in 10ms: 1 ran and passed
    ");
}

#[test]
fn ten_artifacts_by_name_and_the_rest_by_number() {
    let many = || {
        let artifacts = (0..47).map(|n| artifact(&format!("report/{n}.xml"), 1000, None));
        one_step_with([], StepEndStatus::Passed, artifacts.collect())
    };
    let text = rendered(Format::Plain, Options::default(), many());
    let end = &text[text.find("hm: artifacts").unwrap()..];
    insta::assert_snapshot!(end, @r"
    hm: artifacts: 47 files, 45.9 KiB; hm artifacts 1a2b3c4d
    hm:       1000 B  report/0.xml
    hm:       1000 B  report/1.xml
    hm:       1000 B  report/2.xml
    hm:       1000 B  report/3.xml
    hm:       1000 B  report/4.xml
    hm:       1000 B  report/5.xml
    hm:       1000 B  report/6.xml
    hm:       1000 B  report/7.xml
    hm:       1000 B  report/8.xml
    hm:       1000 B  report/9.xml
    hm:   and 37 more
    hm: passed in 10ms: 1 ran and passed
    ");
    let without = Options {
        hints: false,
        ..Options::default()
    };
    let text = rendered(Format::Plain, without, many());
    assert!(text.contains("hm: artifacts: 47 files, 45.9 KiB\n"), "{text}");
    let quiet = Options {
        quiet: true,
        ..Options::default()
    };
    let text = rendered(Format::Plain, quiet, many());
    assert!(!text.contains("artifacts"), "{text}");
}

#[test]
fn retry_and_artifacts_are_reported() {
    let events = one_step_with(
        [retried(0, 1)],
        StepEndStatus::Passed,
        vec![artifact("junit.xml", 12, tests(&[]))],
    );
    let text = rendered(Format::Plain, Options::default(), events);
    assert!(
        text.contains("hm: test failed with exit code 1, attempt 2 begins\n"),
        "{text}"
    );
    let end = &text[text.find("hm: tests").unwrap()..];
    insta::assert_snapshot!(end, @r"
    hm: tests: 8 passed, 2 skipped
    hm: artifacts: 1 file, 12 B; hm artifacts 1a2b3c4d
    hm:         12 B  junit.xml
    hm: passed in 10ms: 1 ran and passed
    ");
}

#[test]
fn tests_of_cached_steps_count_too() {
    let events = [
        start(2, RunHeader::default()),
        cached(0, vec![artifact("a.xml", 1, tests(&["known"]))]),
        started(1, None),
        ended_with(
            1,
            0,
            StepEndStatus::Passed,
            vec![artifact("b.xml", 1, tests(&[]))],
        ),
    ];
    let state = applied(&events);
    let all = state.tests().unwrap();
    assert_eq!((all.total, all.passed(), all.failed, all.skipped), (20, 15, 1, 4));
    assert_eq!(
        state.step(id(0)).unwrap().tests.as_ref().unwrap().failures.len(),
        0
    );
}

#[test]
fn failed_tests_beyond_twenty_are_counted() {
    let report = TestSummary {
        total: 500,
        failed: 300,
        skipped: 0,
        failures: (0..100).map(|n| format!("suite test {n}")).collect(),
    };
    let events = one_step_with(
        [],
        StepEndStatus::Failed,
        vec![artifact("junit.xml", 1, Some(report))],
    );
    let text = rendered(Format::Plain, Options::default(), events);
    assert!(
        text.contains("  tests: 200 passed, 300 failed\n    suite test 0\n"),
        "{text}"
    );
    assert!(text.contains("    suite test 19\n    and 280 more\n"), "{text}");
    assert!(!text.contains("suite test 20\n"), "{text}");
}

#[test]
fn without_logs_a_service_has_none_either() {
    let options = Options {
        logs: Some(Logs::None),
        ..Options::default()
    };
    let events = one_step([service(0, "db", "secret schema", false)], StepEndStatus::Failed);
    let text = rendered(Format::Plain, options, events);
    assert!(!text.contains("db") && !text.contains("schema"), "{text}");
}

#[test]
fn what_a_service_or_a_report_sends_cannot_leave_its_place() {
    let nasty = "a\nhm: b\r\u{1b}[2J\u{1b}]0;title\u{7}c]]>\u{0}\u{fffe}";
    let events = || {
        one_step_with(
            [service(0, nasty, nasty, true), service(0, nasty, nasty, false)],
            StepEndStatus::Failed,
            vec![artifact(nasty, 1, tests(&[nasty]))],
        )
    };
    for color in [false, true] {
        let options = Options {
            style: Style { color, unicode: true },
            logs: Some(Logs::All),
            ..Options::default()
        };
        let text = rendered(Format::Human, options, events());
        assert!(
            !text.contains("\u{1b}[2J") && !text.contains("\u{1b}]") && !text.contains('\u{7}'),
            "{text:?}"
        );
        assert!(!text.lines().any(|line| line.starts_with("hm:")), "{text}");
    }
    let text = rendered(Format::Plain, Options::default(), events());
    let known = [
        "hm: run ",
        "hm: test ",
        "hm: tests: ",
        "hm: artifacts: ",
        "hm:          1 B  a ",
        "hm: failed ",
    ];
    for line in text.lines().filter(|line| line.starts_with("hm:")) {
        assert!(known.iter().any(|known| line.starts_with(known)), "{line:?}");
    }
    let xml = rendered(Format::Junit, Options::default(), events());
    assert!(
        !xml.chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{fffe}'),
        "{xml:?}"
    );
    assert!(xml.contains("<system-err>service a"), "{xml}");
}

#[test]
fn ten_thousand_steps_with_all_of_it_fit_in_memory() {
    let long = "x".repeat(100_000);
    let mut state = BuildState::default();
    for n in 0..10_000 {
        state.apply(&started(n, None));
        let status = match n % 3 {
            0 => StepEndStatus::Failed,
            1 => StepEndStatus::SoftFailed,
            _ => StepEndStatus::Passed,
        };
        for line in 0..3 {
            state.apply(&service(n, "db", &format!("{line}"), false));
        }
        state.apply(&ended_with(
            n,
            1,
            status,
            vec![artifact(&long, 1, tests(&[&long]))],
        ));
    }
    let lines: usize = state
        .steps()
        .iter()
        .flat_map(|step| &step.services)
        .map(|output| output.tail.lines().len())
        .sum();
    assert_eq!(lines, 200 * 3);
    let names = state.steps().iter().filter_map(|step| step.tests.as_ref());
    assert_eq!(names.clone().count(), 10_000);
    assert_eq!(names.map(|tests| tests.failures.len()).sum::<usize>(), 200);
    let listed: Vec<_> = state
        .steps()
        .iter()
        .flat_map(|step| &step.artifacts.listed)
        .collect();
    assert_eq!(listed.len(), 10);
    assert!(listed.iter().all(|artifact| artifact.path.len() == 1024));
}

#[test]
fn no_more_services_are_heard_than_a_plan_can_name() {
    let events: Vec<_> = (0..1000)
        .map(|n| service(0, &format!("s{n}"), "x", false))
        .collect();
    let state = applied(&events);
    assert_eq!(state.steps()[0].services.len(), 64);
    assert!(
        state.steps()[0]
            .services
            .iter()
            .all(|output| output.tail.seen() == 1)
    );
}

#[test]
fn images_are_named_with_what_they_stood_for() {
    let head = |default: &str, images: Vec<_>| {
        let header = RunHeader {
            default_image: Some(default.to_owned()),
            images,
            ..RunHeader::default()
        };
        let text = rendered(Format::Plain, Options::default(), vec![start(1, header)]);
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("image")).collect();
        lines.join("\n")
    };
    let pin = |n: usize| format!("sha256:{n:064}");
    assert_eq!(
        head(
            "ubuntu:24.04",
            vec![image("ubuntu:24.04", "sha256:0123456789abcdef")]
        ),
        "hm: run 1a2b3c4d, 1 step, image ubuntu:24.04@0123456789ab"
    );
    assert_eq!(
        head(
            "host",
            vec![image("host", "host:0123456789abcdef"), image("a", "sha256:short")]
        ),
        "hm: run 1a2b3c4d, 1 step, image host"
    );
    let many = (0..10).map(|n| image(&format!("i{n}"), &pin(n))).collect();
    assert_eq!(head("host", many).matches("@000000000000").count(), 8);
    let many = (0..10).map(|n| image(&format!("i{n}"), &pin(n))).collect();
    assert!(head("host", many).ends_with(", i7@000000000000 and 2 more"));
}
