//! What a plan costs: made by Python, and taken from the cache, beside the start of a bare Python.
//!
//! Printed, never asserted: `cargo bench -p hm-dsl`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark talks to the person who runs it"
)]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use hm_dsl::{RenderRequest, render};

const ROUNDS: u32 = 30;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("repo");
    fs::create_dir_all(root.join(".hm")).unwrap();
    fs::create_dir_all(root.join("src")).unwrap();
    for n in 0..10 {
        fs::write(root.join(format!("src/{n}.c")), "int main;").unwrap();
    }
    let pipeline = root.join(".hm/ci.py");
    let path = std::env::var("PATH").unwrap();
    let request = RenderRequest {
        root,
        python: None,
        cache_dir: dir.path().join("plans"),
        env: BTreeMap::from([("PATH".to_owned(), path)]),
        now: SystemTime::now(),
    };
    let mut round = 0;
    let mut write = || {
        round += 1;
        let text = format!(
            "import harmont as hm\n@hm.pipeline('ci')\ndef ci():\n    return hm.sh('{round}', cache=hm.on_change('src')).sh('x')\n"
        );
        fs::write(&pipeline, text).unwrap();
    };
    write();
    render(&request).unwrap();
    let made = median(|| {
        write();
        let begin = Instant::now();
        assert!(render(&request).unwrap().python_started);
        begin.elapsed()
    });
    let kept = median(|| {
        let begin = Instant::now();
        assert!(render(&request).unwrap().from_cache);
        begin.elapsed()
    });
    let bare = median(|| {
        let begin = Instant::now();
        assert!(
            Command::new("/usr/bin/python3")
                .args(["-E", "-s", "-S", "-c", ""])
                .status()
                .unwrap()
                .success()
        );
        begin.elapsed()
    });
    println!("median of {ROUNDS}: made {made:?}, kept {kept:?}, a bare python3 {bare:?}");
}

fn median(mut one: impl FnMut() -> Duration) -> Duration {
    let mut all: Vec<_> = (0..ROUNDS).map(|_| one()).collect();
    all.sort();
    all[all.len() / 2]
}
