//! Renders real pipeline files with the machine's python3.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod repo;

use repo::Repo;

#[test]
fn a_pipeline_becomes_a_plan_and_the_second_time_starts_no_python() {
    let repo = Repo::new();
    repo.pipeline(
        "def ci():\n    print('hello')\n    return hm.sh('make').sh('make test', label='Unit tests')",
    );
    let first = repo.render().unwrap();
    assert_eq!(first.uncacheable, None);
    assert!(first.python_started && !first.from_cache);
    assert_eq!(first.printed, "hello\n");
    assert_eq!(repo.keys(&first), ["make", "unit-tests"]);
    let second = repo.render().unwrap();
    assert!(second.from_cache && !second.python_started);
    assert_eq!(second.pipelines, first.pipelines);
}
