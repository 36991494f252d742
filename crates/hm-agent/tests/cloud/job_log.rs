//! A job's log, by the client, from a server that goes away.

use futures::StreamExt;
use harmont_client::{LogChunk, LogEvent, StreamKind};
use hm_exec::testing::{PlanWriter, StepWriter, request};
use hm_exec::{ExecutionBackend, RunOptions};
use hm_vm::testing::MemoryBackend;

use crate::support::{Cloud, ORG, PIPELINE};

/// What the stream said, and how often it said so.
fn said(chunks: &[LogChunk], stream: StreamKind) -> String {
    let of_stream = chunks.iter().filter(|chunk| chunk.stream == stream);
    of_stream.map(|chunk| chunk.content.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_on_over_a_restart_and_a_token_that_is_not_taken_any_more() {
    let mut cloud = Cloud::start().await;
    let agent = cloud.agent("agent", &MemoryBackend::new());
    let plan = PlanWriter::of([
        StepWriter::new("counts", "seq 1000; sleep 2; seq 1000; echo wrong >&2"),
        StepWriter::new("other", "echo other"),
    ]);
    let options = RunOptions {
        watch: false,
        ..RunOptions::default()
    };
    let ask = request(plan.plan(), &cloud.worktree("app"), options);
    let (_, control) = cloud.backend().start(ask).await.expect("it starts").into_parts();
    control.wait().await.expect("it is submitted");

    let jobs = cloud.client.jobs(ORG, PIPELINE, 1).await.expect("jobs");
    let job = jobs.iter().find(|job| job.step_key.as_deref() == Some("counts"));
    let job = job.expect("the step's job").id;
    let mut log = cloud.client.job_log(ORG, PIPELINE, 1, job);
    let (mut heard, mut restarted, mut done) = (Vec::new(), false, 0);
    while let Some(event) = log.next().await {
        match event.expect("no error") {
            LogEvent::History(chunks) => heard.extend(chunks),
            LogEvent::Chunk(chunk) => heard.push(chunk),
            LogEvent::Done => done += 1,
        }
        if heard.iter().any(|chunk| chunk.content == "1000\n") && !restarted {
            restarted = true;
            cloud.stop().await;
            let key = cloud.dirs.path().join("server/signing.key");
            std::fs::remove_file(key).expect("the key of all log tokens");
            cloud.restart().await;
        }
    }
    assert!(restarted, "the job said all it had to say before");
    assert_eq!(done, 1);
    let numbers: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    assert_eq!(said(&heard, StreamKind::Stdout), numbers.repeat(2));
    assert_eq!(said(&heard, StreamKind::Stderr), "wrong\n");
    assert!(heard.is_sorted_by(|one, next| one.seq < next.seq));

    let again: Vec<LogEvent> = cloud
        .client
        .job_log(ORG, PIPELINE, 1, job)
        .map(|event| event.expect("no error"))
        .collect()
        .await;
    assert!(
        matches!(again.first(), Some(LogEvent::History(chunks)) if !chunks.is_empty()),
        "{again:?}"
    );
    agent.drain().await;
    cloud.stop().await;
}
