//! What `start` refuses, and what the first events say.

use std::time::Duration;

use hm_exec::testing::{PlanWriter, StepWriter};
use hm_exec::{BackendError, BuildStatus, ExecutionBackend, RunOptions};
use hm_plugin_protocol::events::{BuildEvent, SCHEMA_VERSION};
use hm_vm::{ImageMap, ImageReference};

use crate::support::{Bench, stdout};

async fn refused(bench: &Bench, plan: &PlanWriter, options: RunOptions) -> BackendError {
    let started = bench.backend.start(bench.request(plan.plan(), options)).await;
    started.map(|_| ()).expect_err("it is refused")
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_not_there_says_how_to_map_it() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("good", "true"),
        StepWriter::new("other", "true").with("image", "alpine:3"),
    ]);
    let words = refused(&bench, &plan, RunOptions::default()).await.to_string();
    for part in ["alpine:3", "`other`", "--image alpine:3=host", "[images]"] {
        assert!(words.contains(part), "{words} lacks {part}");
    }
    let mut images = ImageMap::default();
    images.insert(ImageReference::new("alpine:3"), ImageReference::new("host"));
    let options = RunOptions {
        images,
        ..RunOptions::default()
    };
    let played = bench.play(plan.plan(), options).await;
    assert_eq!(played.status().expect("it ended"), BuildStatus::Passed);
}

#[tokio::test(start_paused = true)]
async fn unknown_steps_and_runners_are_named() {
    let bench = Bench::new();
    let plan = PlanWriter::of([StepWriter::new("one", "true"), StepWriter::new("two", "true")]);
    let only = RunOptions {
        only: Some("three".into()),
        ..RunOptions::default()
    };
    let words = refused(&bench, &plan, only).await.to_string();
    assert!(words.contains("`three`") && words.contains("one, two"), "{words}");
    let both = RunOptions {
        only: Some("one".into()),
        from: Some("two".into()),
        ..RunOptions::default()
    };
    assert!(matches!(
        refused(&bench, &plan, both).await,
        BackendError::Rejected { .. }
    ));
    let plan = PlanWriter::of([StepWriter::new("one", "true").with("runner", "mainframe")]);
    let words = refused(&bench, &plan, RunOptions::default()).await.to_string();
    assert!(words.contains("`one`") && words.contains("mainframe"), "{words}");
    assert_eq!(bench.vm.counters().created, 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_events_tell_the_plan() {
    let bench = Bench::new();
    std::fs::write(bench.tree().join("a.txt"), "a").expect("written");
    let plan = PlanWriter::of([
        StepWriter::new("one", "true").with("label", "One"),
        StepWriter::new("two", "true").builds_in("one"),
    ]);
    let played = bench.play(plan.plan(), RunOptions::default()).await;
    let BuildEvent::BuildStart {
        plan,
        header: Some(header),
        schema_version,
        ..
    } = &played.events[0]
    else {
        panic!("{:?}", played.events[0]);
    };
    assert_eq!(
        (plan.step_count, plan.chain_count, *schema_version),
        (2, 1, Some(SCHEMA_VERSION))
    );
    assert_eq!(header.backend.as_deref(), Some("local-memory"));
    assert_eq!((header.parallelism, header.source_files), (Some(4), Some(1)));
    assert!(header.source_id.is_some());
    assert!(matches!(&played.events[1], BuildEvent::BuildAccepted { build, .. } if build.pipeline == "ci"));
    let BuildEvent::StepQueued {
        display_name,
        command,
        ..
    } = &played.events[2]
    else {
        panic!("{:?}", played.events[2]);
    };
    assert_eq!((display_name.as_str(), command.as_deref()), ("One", Some("true")));
    assert_eq!(bench.vm.counters().prepared, 1);
}

#[tokio::test(start_paused = true)]
async fn the_source_is_frozen_at_the_start_and_the_runs_variables_win() {
    let bench = Bench::new();
    std::fs::write(bench.tree().join("a.txt"), "before").expect("written");
    let plan = PlanWriter::of([
        StepWriter::new("one", "sleep 5"),
        StepWriter::new("two", "cat a.txt; echo $A $B")
            .builds_in("one")
            .with("env", serde_json::json!({"A": "1", "B": "2"})),
    ]);
    let mut request = bench.request(plan.plan(), RunOptions::default());
    request.env.insert("B".into(), "3".into());
    let tree = bench.tree();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        std::fs::write(tree.join("a.txt"), "after").expect("written");
    });
    let played = hm_exec::testing::play(&bench.backend, request, |_, _| {})
        .await
        .expect("it starts");
    assert_eq!(stdout(&played, "two"), "before1 3\n");
}
