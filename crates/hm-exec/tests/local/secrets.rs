//! Secrets: who is given them, and that nothing shows their values.

use hm_exec::testing::{PlanWriter, Played, StepWriter, check_order, play};
use hm_exec::{BackendError, BuildStatus, ExecutionBackend, RunOptions};
use hm_vm::SecretValue;
use serde_json::json;

use crate::support::{Bench, stdout};

async fn run(bench: &Bench, plan: &PlanWriter, secrets: &[(&str, &str)]) -> Played {
    let plan = plan.plan();
    let mut request = bench.request(plan.clone(), RunOptions::default());
    request.secrets = values(secrets);
    let played = play(&bench.backend, request, |_, _| {})
        .await
        .expect("the build starts");
    check_order(&played.events, &plan.graph).expect("the order holds");
    played
}

fn values(secrets: &[(&str, &str)]) -> std::collections::BTreeMap<String, SecretValue> {
    let value = |(name, value): &(&str, &str)| ((*name).to_owned(), SecretValue::new(*value));
    secrets.iter().map(value).collect()
}

fn asking(key: &str, cmd: &str) -> StepWriter {
    StepWriter::new(key, cmd).with(
        "secrets",
        json!([{"name": "TOKEN"}, {"name": "KEY", "file": "key"}]),
    )
}

const SECRETS: [(&str, &str); 2] = [("TOKEN", "hunter2-token"), ("KEY", "first-line\nsecond-line\n")];

#[tokio::test(start_paused = true)]
async fn a_step_is_given_what_it_asks_for_and_its_output_is_masked() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        asking(
            "one",
            "echo [$TOKEN]; echo [$TOKEN] >&2; cat /run/secrets/key; echo after",
        ),
        StepWriter::new("other", "echo [$TOKEN]; cat /run/secrets/key"),
    ]);
    let played = run(&bench, &plan, &SECRETS).await;
    assert_eq!(stdout(&played, "one"), "[***]\n***\nafter\n");
    assert_eq!(stdout(&played, "other"), "[]\n");
    assert_eq!(played.end("other").expect("it ended").0, 1);
    let told = format!("{:?}", played.events);
    assert!(
        !told.contains("hunter2") && !told.contains("second-line"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_text_that_is_told_is_masked() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        asking("one", "echo hunter2-token; false").with("label", "deploys with hunter2-token")
    ]);
    let played = run(&bench, &plan, &SECRETS).await;
    assert_eq!(played.status().expect("it ended"), BuildStatus::Failed);
    let told = format!("{:?}", played.events);
    assert!(!told.contains("hunter2"), "{told}");
    assert!(
        told.contains("deploys with ***") && told.contains("echo ***; false"),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_given_is_refused_in_start_and_not_shown() {
    let bench = Bench::new();
    let plan = PlanWriter::of([asking("one", "true"), StepWriter::new("two", "true")]).plan();
    let refused = async |secrets: &[(&str, &str)]| {
        let mut request = bench.request(plan.clone(), RunOptions::default());
        request.secrets = values(secrets);
        bench.backend.start(request).await.expect_err("refused")
    };
    let error = refused(&[("TOKEN", "hunter2-token")]).await;
    assert!(
        matches!(&error, BackendError::MissingSecret { step, secret } if step == "one" && secret == "KEY"),
        "{error}"
    );
    for (value, words) in [
        ("abc", "the secret `TOKEN` is too short"),
        ("   x\n  ", "the secret `TOKEN` is too short"),
        (
            "hunter2\0token",
            "step `one` is to be given the secret `TOKEN` as the variable TOKEN",
        ),
    ] {
        let error = refused(&[("TOKEN", value), SECRETS[1]]).await.to_string();
        assert!(error.contains(words) && !error.contains(value), "{error}");
    }
    assert_eq!(bench.vm.counters().created, 0);
    let options = RunOptions {
        only: Some("two".into()),
        ..RunOptions::default()
    };
    let played = bench.play(plan, options).await;
    assert_eq!(played.status().expect("it ended"), BuildStatus::Passed);
}

#[tokio::test(start_paused = true)]
async fn another_value_finds_the_same_snapshot() {
    let bench = Bench::new();
    let plan = PlanWriter::of([asking("one", "echo [$TOKEN]").cached("forever")]);
    run(&bench, &plan, &SECRETS).await;
    let again = run(&bench, &plan, &[("TOKEN", "another-value"), SECRETS[1]]).await;
    assert_eq!(again.steps()["one"], hm_exec::StepStatus::CacheHit);
    let renamed = StepWriter::new("one", "echo [$TOKEN]").cached("forever").with(
        "secrets",
        json!([{"name": "TOKEN"}, {"name": "KEY", "file": "other"}]),
    );
    let third = run(&bench, &PlanWriter::of([renamed]), &SECRETS).await;
    assert_eq!(third.miss("one"), Some("secrets changed"));
}
