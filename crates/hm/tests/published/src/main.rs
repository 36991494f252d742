//! Reads events from standard input, one a line, as a program does that was built with the published crate: it stops at the first
//! line that it cannot read. Prints what it understood.

use std::io::BufRead;

use hm_plugin_protocol::events::BuildEvent;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut starts, mut ends, mut failed, mut lines, mut hits) = (0, 0, 0, 0, 0);
    let mut verdict = None;
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line?;
        let event: BuildEvent =
            serde_json::from_str(&line).map_err(|error| format!("line {}: {error}: {line}", number + 1))?;
        match event {
            BuildEvent::StepStart { .. } => starts += 1,
            BuildEvent::StepLog { .. } => lines += 1,
            BuildEvent::StepCacheHit { .. } => hits += 1,
            BuildEvent::StepEnd { exit_code, .. } => {
                ends += 1;
                failed += usize::from(exit_code != 0);
            }
            BuildEvent::BuildEnd { exit_code, .. } => verdict = Some(exit_code),
            _ => {}
        }
    }
    let verdict = verdict.map_or_else(|| "none".to_owned(), |code| code.to_string());
    println!("starts {starts} ends {ends} failed {failed} lines {lines} hits {hits} verdict {verdict}");
    Ok(())
}
