//! Limits that a plan gives its steps: each ends with a clear message.

use hm_exec::testing::{PlanWriter, StepWriter};
use hm_exec::{BuildStatus, RunOptions};
use hm_plugin_protocol::events::{StdStream, StepEndStatus};
use serde_json::json;

use crate::support::{Bench, status};

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn each_limit_holds_and_is_told() {
    let bench = Bench::new();
    let plan = PlanWriter::of([
        StepWriter::new("memory", "exec python3 -c 'print(len(b\"x\" * (256 << 20)))'")
            .with("limits", json!({"memory": 64 * MIB})),
        StepWriter::new("disk", "exec head -c 64M /dev/zero > file")
            .with("limits", json!({"disk": 16 * MIB})),
        StepWriter::new("pids", "for i in $(seq 40); do sleep 5 & done; wait; echo all")
            .with("limits", json!({"pids": 16})),
        StepWriter::new("within", "head -c 1M /dev/zero > file; echo fine").with(
            "limits",
            json!({"memory": 512 * MIB, "disk": 64 * MIB, "pids": 200, "cpus": 1.5}),
        ),
    ]);
    let options = RunOptions {
        keep_going: true,
        ..RunOptions::default()
    };
    let played = bench.run_with(&plan, options).await;
    assert_eq!(status(&played), BuildStatus::Failed);
    for (key, words) in [("memory", "memory"), ("disk", "disk")] {
        let (code, ended, message) = played.end(key).expect("it ended");
        assert_ne!(code, 0);
        assert_eq!(ended, Some(StepEndStatus::Failed));
        let message = message.unwrap_or_default();
        assert!(message.contains(words), "`{key}`: {message}");
    }
    let (_, _, message) = played.end("pids").expect("it ended");
    let message = message.unwrap_or_default();
    assert!(
        message.contains("process"),
        "{message} {:?}",
        played.output("pids", StdStream::Stderr)
    );
    assert_eq!(played.output("within", StdStream::Stdout), "fine\n");
    assert_eq!(played.end("within").map(|end| (end.0, end.2)), Some((0, None)));
}
