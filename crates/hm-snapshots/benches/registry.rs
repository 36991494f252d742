//! What the registry and the layer store cost per call: `cargo bench -p hm-snapshots --bench registry`.
#![expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
#![expect(clippy::unwrap_used, reason = "a benchmark stops at its first failure")]

#[cfg(target_os = "linux")]
mod layers {
    use std::sync::Arc;
    use std::time::Instant;

    use hm_sandbox::layers::{DirectFileOps, LayerChain, LayerStore, WORKSPACE_PART, part_name};
    use hm_source::Source;
    use hm_vm::{ImageReference, ResolvedImage};

    pub fn run(root: &std::path::Path, rounds: u32) {
        let store = LayerStore::open(root, Arc::new(DirectFileOps)).unwrap();
        let image = ResolvedImage {
            reference: ImageReference::new("host"),
            digest: "d".into(),
        };
        let source = Source::empty();
        let few = vec!["@".to_owned(), WORKSPACE_PART.to_owned()];
        let many: Vec<String> = [
            "/",
            "/usr",
            "/etc",
            "/var",
            "/opt",
            "/srv",
            "/root",
            "/home",
            "/mnt",
            "/media",
            "/boot",
            "/workspace",
        ]
        .iter()
        .map(|mount| part_name(std::path::Path::new(mount)))
        .collect();
        for parts in [few, many] {
            for writes in [false, true] {
                let base = LayerChain::new(image.clone());
                let (mut begin, mut seal, mut load) = (0u128, 0u128, 0u128);
                for _ in 0..rounds {
                    let start = Instant::now();
                    let live = store.begin(&parts).unwrap();
                    begin += start.elapsed().as_nanos();
                    if writes {
                        std::fs::write(live.upper(WORKSPACE_PART).join("out"), b"x").unwrap();
                    }
                    let start = Instant::now();
                    let (id, _) = store.seal(live, &base, &source).unwrap();
                    seal += start.elapsed().as_nanos();
                    let start = Instant::now();
                    store.check(&id, &source).unwrap();
                    load += start.elapsed().as_nanos();
                }
                let mean = |total: u128| total as f64 / f64::from(rounds) / 1000.0;
                let wrote = if writes { "one file" } else { "nothing" };
                println!(
                    "{:2} parts, wrote {wrote:8}  begin {:7.1} us   seal {:7.1} us   check {:6.1} us",
                    parts.len(),
                    mean(begin),
                    mean(seal),
                    mean(load)
                );
            }
        }
        let start = Instant::now();
        store.flush();
        println!(
            "emptying the trash afterwards     {:9.1} ms",
            start.elapsed().as_secs_f64() * 1000.0
        );
        let start = Instant::now();
        let usage = store.usage().unwrap();
        let first = start.elapsed().as_secs_f64() * 1000.0;
        let start = Instant::now();
        store.usage().unwrap();
        let again = start.elapsed().as_secs_f64() * 1000.0;
        println!(
            "usage of {} snapshots: first {first:.1} ms, again {again:.1} ms",
            usage.snapshots
        );
    }
}

fn main() {
    use std::time::Instant;

    let rounds = 1000u32;
    let directory = tempfile::tempdir().unwrap();
    let registry = hm_snapshots::Registry::open(&directory.path().join("registry")).unwrap();
    let lease = registry.lease().unwrap();
    let snapshots: Vec<_> = (0..rounds)
        .map(|n| hm_vm::SnapshotId(format!("{n:032x}")))
        .collect();
    let keys: Vec<_> = (0..rounds).map(|n| format!("{n:064x}")).collect();
    let report = |what: &str, start: Instant| {
        println!(
            "{what:34} {:7.1} us",
            start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
        );
    };

    let start = Instant::now();
    for (key, snapshot) in keys.iter().zip(&snapshots) {
        registry.record(key, snapshot).unwrap();
    }
    report("record", start);
    let start = Instant::now();
    for key in &keys {
        assert!(registry.lookup(key).unwrap().is_some());
    }
    report("lookup, a hit", start);
    let start = Instant::now();
    for snapshot in &snapshots {
        assert!(lease.pin(snapshot).unwrap());
    }
    report("pin", start);
    let start = Instant::now();
    registry.touch_all(&snapshots).unwrap();
    report("touch", start);
    let start = Instant::now();
    for key in &keys {
        registry
            .remember(key, &serde_json::json!({"command": "make"}))
            .unwrap();
    }
    report("remember", start);
    let start = Instant::now();
    for _ in 0..rounds {
        hm_snapshots::Registry::open(registry.root()).unwrap();
    }
    report("open", start);

    #[cfg(target_os = "linux")]
    layers::run(&directory.path().join("sandbox"), 300);
}
