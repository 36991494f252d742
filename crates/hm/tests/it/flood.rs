//! Much output, read slowly: every byte arrives, in order, and memory stays bounded.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::harness::World;

const MEMORY_KIB: u64 = 150 * 1024;

fn start(world: &World, command: &str) -> Child {
    world.write("p.json", &World::plan(&[("flood", command, None)]));
    let mut command = world.command(&["run", "--plan", "p.json", "--format", "json"]);
    command.stdout(Stdio::piped()).spawn().expect("hm starts")
}

/// The most memory that a process has used so far, in KiB; none once it has ended.
fn peak(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn three_hundred_thousand_lines_arrive_in_order() {
    let world = World::new();
    let mut child = start(&world, "seq 300000");
    let mut most = 0;
    let mut next = 1_u64;
    let mut begun = String::new();
    for (count, line) in BufReader::new(child.stdout.take().expect("a pipe"))
        .lines()
        .enumerate()
    {
        if count % 20_000 == 0 {
            std::thread::sleep(Duration::from_millis(20));
            most = most.max(peak(&child).unwrap_or(0));
        }
        let event: serde_json::Value = serde_json::from_str(&line.expect("UTF-8")).expect("JSON");
        if event["kind"] == "step_log" {
            begun.push_str(event["line"].as_str().expect("text"));
            // Where the machine is busy for long, a line may come in pieces.
            if event["partial"] != true {
                assert_eq!(std::mem::take(&mut begun), next.to_string());
                next += 1;
            }
        }
    }
    assert!(child.wait().expect("hm ends").success());
    assert_eq!(next, 300_001);
    assert!(most > 0 && most < MEMORY_KIB, "{most} KiB");
}

#[test]
fn two_hundred_megabytes_without_a_newline_arrive() {
    let world = World::new();
    let mut child = start(&world, "head -c 200000000 /dev/zero | tr '\\0' x");
    let mut most = 0;
    let mut arrived = 0;
    let mut output = BufReader::with_capacity(1 << 20, child.stdout.take().expect("a pipe"));
    let mut line = Vec::new();
    while output
        .by_ref()
        .take(1 << 21)
        .read_until(b'\n', &mut line)
        .expect("hm speaks")
        > 0
    {
        most = most.max(peak(&child).unwrap_or(0));
        // Counted by hand: parsing this much JSON in a debug build would be the test's own cost.
        if line.starts_with(b"{\"kind\":\"step_log\"") {
            let text = String::from_utf8_lossy(&line);
            let (_, rest) = text.split_once("\"line\":\"").expect("a line");
            let (piece, _) = rest.split_once('"').expect("its end");
            assert!(piece.len() <= 64 << 10 && piece.bytes().all(|byte| byte == b'x'));
            arrived += piece.len();
        }
        line.clear();
    }
    assert!(child.wait().expect("hm ends").success());
    assert_eq!(arrived, 200_000_000);
    assert!(most > 0 && most < MEMORY_KIB, "{most} KiB");
}
