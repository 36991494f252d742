//! Builds that pass.

use hm_plugin_protocol::events::{BuildEvent, StdStream};
use serde_json::json;

use super::Subject;
use super::subject::status;
use crate::testing::{PlanWriter, StepWriter, play};
use crate::{BuildStatus, RunOptions, StepStatus};

/// A build of a few steps passes; its first events say what is to come.
pub async fn a_build_passes_and_its_first_events_tell_the_plan(subject: &Subject) {
    let plan = PlanWriter::of([
        StepWriter::new("one", "true").with("label", "One"),
        StepWriter::new("two", "true").builds_in("one"),
        StepWriter::new("three", "true").builds_in("one"),
        StepWriter::new("four", "true").builds_in("three").after("two"),
    ]);
    let played = subject.passes(&plan).await;
    assert!(
        played
            .steps()
            .values()
            .all(|status| *status == StepStatus::Passed)
    );
    assert!(matches!(&played.events[0], BuildEvent::BuildStart { plan, .. } if plan.step_count == 4));
    let named = played.events.iter().find_map(|event| match event {
        BuildEvent::StepQueued {
            key, display_name, ..
        } if key == "one" => Some(display_name.as_str()),
        _ => None,
    });
    assert_eq!(named, Some("One"));
}

/// A child has its parent's files, and not those of its siblings.
pub async fn a_child_starts_from_its_parents_snapshot(subject: &Subject) {
    let plan = PlanWriter::of([
        StepWriter::new("root", "echo root > file"),
        StepWriter::new("left", "echo left >> file").builds_in("root"),
        StepWriter::new("right", "echo right >> file; cat file")
            .builds_in("root")
            .after("left"),
        StepWriter::new("last", "cat file").builds_in("left"),
    ]);
    let played = subject.passes(&plan).await;
    assert_eq!(played.output("right", StdStream::Stdout), "root\nright\n");
    assert_eq!(played.output("last", StdStream::Stdout), "root\nleft\n");
}

/// A variable of the run stands over the plan's own.
pub async fn the_runs_variables_win_over_the_plans(subject: &Subject) {
    let step =
        StepWriter::new("one", "echo $HM_A $HM_B $HM_C").with("env", json!({"HM_A": "1", "HM_B": "2"}));
    let mut request = subject.request(&PlanWriter::of([step]), RunOptions::default());
    request.env.insert("HM_B".into(), "3".into());
    request.env.insert("HM_C".into(), "4".into());
    let played = play(subject.backend.as_ref(), request, |_, _| {})
        .await
        .expect("it starts");
    assert_eq!(status(&played), BuildStatus::Passed);
    assert_eq!(played.output("one", StdStream::Stdout), "1 3 4\n");
}

/// The worktree's files are where the step's command runs.
pub async fn a_step_sees_the_worktree(subject: &Subject) {
    std::fs::write(subject.worktree.join("a.txt"), "from the worktree\n").expect("a file");
    let plan = PlanWriter::of([StepWriter::new("one", "cat a.txt; echo mine > a.txt")]);
    let played = subject.passes(&plan).await;
    assert_eq!(played.output("one", StdStream::Stdout), "from the worktree\n");
    let kept = std::fs::read_to_string(subject.worktree.join("a.txt")).expect("it is still there");
    assert_eq!(kept, "from the worktree\n", "a step wrote into the worktree");
}

/// A step with a policy that has passed before does not run again.
pub async fn a_cached_step_is_a_hit_the_second_time(subject: &Subject) {
    if !subject.can().reports_cache_hits {
        return;
    }
    let plan = PlanWriter::of([
        StepWriter::new("one", "echo one > one").cached("auto"),
        StepWriter::new("two", "cat one").builds_in("one"),
    ]);
    subject.passes(&plan).await;
    let again = subject.passes(&plan).await;
    assert_eq!(again.steps()["one"], StepStatus::CacheHit);
    assert_eq!(again.output("two", StdStream::Stdout), "one\n");
    if subject.can().honors_no_cache {
        let options = RunOptions {
            no_cache: true,
            ..RunOptions::default()
        };
        let forced = subject.run(&plan, options).await;
        assert_eq!(forced.steps()["one"], StepStatus::Passed);
    }
}
