//! Builds that do not pass.

use std::time::Duration;

use hm_plugin_protocol::events::{BuildEvent, StepEndStatus};

use super::Subject;
use super::subject::status;
use crate::testing::{PlanWriter, StepWriter};
use crate::{BuildStatus, RunOptions, StepStatus};

/// A failed step fails the build and keeps its exit code; what comes after it never runs.
pub async fn a_failed_step_fails_the_build_and_skips_what_comes_after(subject: &Subject) {
    let plan = PlanWriter::of([
        StepWriter::new("bad", "echo no >&2; exit 3"),
        StepWriter::new("child", "true").builds_in("bad"),
        StepWriter::new("after", "true").after("child"),
    ]);
    let played = subject.run(&plan, RunOptions::default()).await;
    assert_eq!(status(&played), BuildStatus::Failed);
    assert_eq!(played.end("bad").map(|end| end.0), Some(3));
    assert_eq!(played.steps()["child"], StepStatus::Skipped);
    assert_eq!(played.steps()["after"], StepStatus::Skipped);
    let cut = played.events.iter().find_map(|event| match event {
        BuildEvent::ChainFailed {
            failed_step_key,
            exit_code,
            ..
        } => Some((failed_step_key.as_str(), *exit_code)),
        _ => None,
    });
    assert_eq!(cut, Some(("bad", 3)));
}

/// With keep-going, a failure skips its descendants and nothing else.
pub async fn keep_going_runs_what_does_not_come_after(subject: &Subject) {
    if !subject.can().honors_keep_going {
        return;
    }
    let plan = PlanWriter::of([
        StepWriter::new("bad", "exit 1"),
        StepWriter::new("child", "true").builds_in("bad"),
        StepWriter::new("slow", "sleep 1"),
        StepWriter::new("later", "true").builds_in("slow"),
    ]);
    let options = RunOptions {
        keep_going: true,
        ..RunOptions::default()
    };
    let played = subject.run(&plan, options).await;
    assert_eq!(status(&played), BuildStatus::Failed);
    assert_eq!(played.steps()["child"], StepStatus::Skipped);
    assert_eq!(played.steps()["later"], StepStatus::Passed);
}

/// A step that outstays its own timeout ends, with 124, and the build has failed.
pub async fn a_steps_timeout_fails_the_build(subject: &Subject) {
    if !subject.can().enforces_timeout {
        return;
    }
    let plan = PlanWriter::of([StepWriter::new("slow", "echo begun; sleep 5000").with("timeout_seconds", 1)]);
    let played = subject.run(&plan, RunOptions::default()).await;
    assert_eq!(status(&played), BuildStatus::Failed);
    let end = played.end("slow").map(|end| (end.0, end.1));
    assert_eq!(end, Some((124, Some(StepEndStatus::TimedOut))));
}

/// A build that outstays `--timeout` ends, and nothing that waits begins.
pub async fn the_builds_timeout_ends_it(subject: &Subject) {
    if !subject.can().enforces_timeout {
        return;
    }
    let plan = PlanWriter::of([
        StepWriter::new("slow", "sleep 5000"),
        StepWriter::new("child", "true").builds_in("slow"),
    ]);
    let options = RunOptions {
        timeout: Some(Duration::from_secs(1)),
        ..RunOptions::default()
    };
    let played = subject.run(&plan, options).await;
    assert_eq!(status(&played), BuildStatus::TimedOut);
    assert!(matches!(
        played.steps()["child"],
        StepStatus::Skipped | StepStatus::Canceled
    ));
}

/// Cancellation, asked for twice, ends what runs and what waits.
pub async fn cancellation_ends_the_build(subject: &Subject) {
    let plan = PlanWriter::of([
        StepWriter::new("one", "echo begun; sleep 5000"),
        StepWriter::new("child", "true").builds_in("one"),
    ]);
    let played = subject.run_while(&plan, RunOptions::default(), |event, control| {
        if matches!(event, BuildEvent::StepLog { .. }) {
            control.cancel();
            control.cancel();
        }
    });
    let played = played.await;
    assert_eq!(status(&played), BuildStatus::Canceled);
    assert_eq!(
        played.end("one").map(|end| end.1),
        Some(Some(StepEndStatus::Canceled))
    );
    assert!(matches!(
        played.steps()["child"],
        StepStatus::Skipped | StepStatus::Canceled
    ));
}

/// When nobody reads the events any more, the build still comes to an end.
pub async fn a_dropped_stream_does_not_hang_the_build(subject: &Subject) {
    let plan = PlanWriter::of([StepWriter::new("one", "seq 100000; sleep 1")]);
    let request = subject.request(&plan, RunOptions::default());
    let handle = subject.backend.start(request).await.expect("it starts");
    let (events, control) = handle.into_parts();
    drop(events);
    let outcome = control.wait().await.expect("no infrastructure failure");
    assert!(
        matches!(outcome.status, BuildStatus::Canceled | BuildStatus::Passed),
        "{outcome:?}"
    );
}

/// An image that is not there fails `start`, naming the step.
pub async fn an_image_that_is_not_there_is_refused_at_the_start(subject: &Subject) {
    // Which images there are is found where the build runs.
    if !subject.can().honors_image_map || subject.can().is_observer {
        return;
    }
    let plan = PlanWriter::of([StepWriter::new("lost", "true").with("image", "/no/such/image/of/hm")]);
    let started = subject
        .backend
        .start(subject.request(&plan, RunOptions::default()))
        .await;
    let words = started.map(|_| ()).expect_err("it is refused").to_string();
    assert!(words.contains("lost") && words.contains("--image"), "{words}");
}
