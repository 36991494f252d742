use std::io::{self, Write};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use crate::renderer::Renderer;
use crate::state::{BuildState, Phase, Step};

/// A JUnit report: the pipeline is a suite, a step is a test case. Written when the build has ended.
#[derive(Debug)]
pub struct Junit<W> {
    out: W,
}

impl<W> Junit<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Renderer for Junit<W> {
    fn finish(&mut self, state: &BuildState) -> io::Result<()> {
        let pipeline = state
            .header()
            .pipeline
            .as_deref()
            .or(state.build().map(|build| build.pipeline.as_str()));
        let pipeline = pipeline.unwrap_or("hm");
        let mut report = Report::new("hm");
        let mut suite = TestSuite::new(xml(pipeline));
        if let Some(started_at) = state.started_at() {
            report.set_timestamp(started_at.fixed_offset());
            suite.set_timestamp(started_at.fixed_offset());
        }
        if let Some(ms) = state.duration_ms() {
            report.set_time(Duration::from_millis(ms));
            suite.set_time(Duration::from_millis(ms));
        }
        if let Some(run_id) = state.run_id() {
            suite.add_property(Property::new("run_id", run_id.to_string()));
        }
        suite.add_test_cases(state.steps().iter().map(|step| case(step, pipeline)));
        report.add_test_suite(suite);
        report.serialize(&mut self.out).map_err(io::Error::other)?;
        self.out.flush()
    }
}

fn case(step: &Step, pipeline: &str) -> TestCase {
    let mut case = TestCase::new(xml(&step.key), status(step));
    case.set_classname(xml(pipeline));
    if let Some(ms) = step.duration_ms {
        case.set_time(Duration::from_millis(ms));
    }
    if step.phase == Phase::CacheHit {
        case.add_property(Property::new("cached", "true"));
    }
    if step.phase == Phase::SoftFailed {
        let code = step.exit_code.unwrap_or_default();
        case.add_property(Property::new("soft_failed", code.to_string()));
    }
    if step.phase.is_failure() && !step.services.is_empty() {
        case.set_system_err(xml(&services(step)));
    }
    case
}

fn services(step: &Step) -> String {
    let mut text = String::new();
    for output in &step.services {
        text.push_str(&format!("service {}:\n", output.service));
        for line in output.tail.lines() {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn status(step: &Step) -> TestCaseStatus {
    let (mut status, message) = match step.phase {
        Phase::Passed | Phase::CacheHit | Phase::SoftFailed => return TestCaseStatus::success(),
        Phase::Failed => {
            let message = format!("exit code {}", step.exit_code.unwrap_or_default());
            (TestCaseStatus::non_success(NonSuccessKind::Failure), message)
        }
        Phase::TimedOut => (
            TestCaseStatus::non_success(NonSuccessKind::Error),
            "timed out".to_owned(),
        ),
        Phase::Skipped => (TestCaseStatus::skipped(), "skipped".to_owned()),
        Phase::Canceled => (TestCaseStatus::skipped(), "canceled".to_owned()),
        Phase::Queued | Phase::Running => (TestCaseStatus::skipped(), "never ended".to_owned()),
    };
    match &step.message {
        Some(said) => status.set_message(xml(&format!("{message}: {said}"))),
        None => status.set_message(message),
    };
    if step.phase.is_failure() {
        status.set_type(if step.phase == Phase::TimedOut {
            "timeout"
        } else {
            "exit_code"
        });
        let mut description = step
            .command
            .as_ref()
            .map(|command| format!("$ {}\n", command.trim_end()))
            .unwrap_or_default();
        for line in step.tail.lines() {
            description.push_str(line);
            description.push('\n');
        }
        status.set_description(xml(&description));
    }
    status
}

/// Two characters are text and yet not XML, and the serializer lets them through.
fn xml(text: &str) -> String {
    text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
