//! `hm events --schema`.

use crate::harness::World;

#[test]
fn the_schema_is_json_and_names_every_kind() {
    let text = World::new().hm(&["events", "--schema"]).expect(0).stdout();
    let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let kinds: Vec<&str> = schema["oneOf"]
        .as_array()
        .expect("a list of kinds")
        .iter()
        .filter_map(|kind| kind["properties"]["kind"]["const"].as_str())
        .collect();
    for kind in [
        "build_start",
        "step_queued",
        "step_log",
        "step_end",
        "step_cache_hit",
        "chain_failed",
        "build_end",
    ] {
        assert!(kinds.contains(&kind), "no {kind} in {kinds:?}");
    }
}
