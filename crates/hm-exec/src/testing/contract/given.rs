//! What steps are given that nobody else sees, and what they make for others to see.

use hm_plugin_protocol::events::{BuildEvent, StdStream};
use hm_vm::SecretValue;
use serde_json::json;

use super::Subject;
use super::subject::status;
use crate::testing::{PlanWriter, Played, StepWriter, play};
use crate::{BuildStatus, RunOptions, StepStatus};

/// A step has the secrets that it asks for, as variables and as files, and what it prints of them is masked.
pub async fn a_secret_is_given_and_masked(subject: &Subject) {
    if !subject.can().takes_secrets {
        return;
    }
    let secrets = json!([{"name": "TOKEN"}, {"name": "KEY", "file": "deploy.key"}]);
    let plan = PlanWriter::of([
        StepWriter::new("asks", "echo [$TOKEN]; cat /run/secrets/deploy.key; echo after")
            .with("secrets", secrets),
        StepWriter::new("other", "echo [$TOKEN]; cat /run/secrets/deploy.key")
            .builds_in("asks")
            .with("soft_fail", true),
    ]);
    let mut request = subject.request(&plan, RunOptions::default());
    for (name, value) in [("TOKEN", "hunter2-token"), ("KEY", "first-line\nsecond-line\n")] {
        request.secrets.insert(name.to_owned(), SecretValue::new(value));
    }
    let played = play(subject.backend.as_ref(), request, |_, _| {})
        .await
        .expect("it starts");
    assert_eq!(status(&played), BuildStatus::Passed, "{:?}", played.events);
    assert_eq!(played.output("asks", StdStream::Stdout), "[***]\n***\nafter\n");
    assert_eq!(played.output("other", StdStream::Stdout), "[]\n");
    assert_ne!(played.end("other").map(|(code, ..)| code), Some(0));
    let told = format!("{:?}", played.events);
    assert!(
        !told.contains("hunter2") && !told.contains("second-line"),
        "{told}"
    );
}

fn artifacts(played: &Played) -> Vec<(&str, u64, &str)> {
    let mut found = Vec::new();
    for event in &played.events {
        if let BuildEvent::StepEnd { artifacts, .. } | BuildEvent::StepCacheHit { artifacts, .. } = event {
            found.extend(
                artifacts
                    .iter()
                    .map(|artifact| (artifact.path.as_str(), artifact.bytes, artifact.digest.as_str())),
            );
        }
    }
    found
}

/// What a step makes is told, and told again when the step is in the cache.
pub async fn artifacts_are_told_and_told_again(subject: &Subject) {
    if !subject.can().collects_artifacts {
        return;
    }
    let plan = PlanWriter::of([StepWriter::new("one", "echo one > one.txt; echo two > two.log")
        .cached("forever")
        .with("artifacts", json!([{"paths": ["*.txt", "two.log"]}]))]);
    let first = subject.passes(&plan).await;
    let digests = [b"one\n", b"two\n"].map(|content| blake3::hash(content).to_hex().to_string());
    let wanted = [
        ("one.txt", 4, digests[0].as_str()),
        ("two.log", 4, digests[1].as_str()),
    ];
    assert_eq!(artifacts(&first), wanted);
    let second = subject.passes(&plan).await;
    assert_eq!(second.steps()["one"], StepStatus::CacheHit);
    assert_eq!(artifacts(&second), wanted);
}
