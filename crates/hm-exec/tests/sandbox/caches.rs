//! Cache directories: shared between runs and between steps, and in no snapshot.

use hm_exec::testing::{PlanWriter, StepWriter};
use hm_plugin_protocol::events::StdStream;
use hm_vm::VmBackend;
use serde_json::json;

use crate::support::Bench;

fn step(key: &str, cmd: &str) -> StepWriter {
    StepWriter::new(key, cmd).with(
        "caches",
        json!([
            {"name": "deps", "path": "~/.cache/deps"},
            {"name": "modules", "path": "web/node_modules"},
        ]),
    )
}

#[tokio::test]
async fn what_one_run_kept_is_there_for_the_next() {
    let bench = Bench::new();
    let fill = "mkdir -p web; echo one > ~/.cache/deps/a; echo two > web/node_modules/b";
    bench.passes(&PlanWriter::of([step("fill", fill)])).await;
    let plan = PlanWriter::of([
        step("use", "cat ~/.cache/deps/a web/node_modules/b"),
        StepWriter::new(
            "without",
            "test ! -e ~/.cache/deps/a && ls web/node_modules || echo bare",
        )
        .builds_in("use"),
    ]);
    let played = bench.passes(&plan).await;
    assert_eq!(played.output("use", StdStream::Stdout), "one\ntwo\n");
    assert!(
        !played.output("without", StdStream::Stdout).contains('b')
            || played.output("without", StdStream::Stdout) == "bare\n"
    );
    let mut kept: Vec<String> = bench
        .vm
        .cache_directories()
        .await
        .expect("a list")
        .into_iter()
        .map(|directory| directory.name)
        .collect();
    kept.sort();
    assert_eq!(kept[0], "deps");
    assert!(kept[1].starts_with("modules.") && kept.len() == 2, "{kept:?}");
}

#[tokio::test]
async fn what_a_failed_step_wrote_is_thrown_away() {
    let bench = Bench::new();
    bench
        .run(&PlanWriter::of([step(
            "fill",
            "echo half > ~/.cache/deps/a; false",
        )]))
        .await;
    let played = bench
        .passes(&PlanWriter::of([step(
            "use",
            "cat ~/.cache/deps/a || echo clean",
        )]))
        .await;
    assert_eq!(played.output("use", StdStream::Stdout), "clean\n");
}

#[tokio::test]
async fn steps_at_once_keep_what_each_of_them_wrote() {
    let bench = Bench::new();
    let fill = |name: &str| {
        step(
            name,
            &format!("for i in $(seq 200); do echo $i > ~/.cache/deps/{name}-$i; done"),
        )
    };
    let names = ["a", "b", "c", "d"];
    bench.passes(&PlanWriter::of(names.map(fill))).await;
    let played = bench
        .passes(&PlanWriter::of([step("count", "ls ~/.cache/deps | wc -l")]))
        .await;
    assert_eq!(played.output("count", StdStream::Stdout).trim(), "800");
}
