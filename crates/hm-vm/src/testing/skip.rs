//! Tests that cannot run where they are.

use std::fs::OpenOptions;
use std::io::Write;
use std::panic::Location;

/// The variable that names the file to which skipped tests are added, a line each.
pub const SKIPPED: &str = "HM_TESTS_SKIPPED";

/// Says that the test which calls this cannot run here, and why; the caller then returns. A run of tests that must be complete
/// sets [`SKIPPED`] and looks into the file afterwards.
#[track_caller]
#[expect(
    clippy::print_stderr,
    reason = "a test's own output is where its skip is looked for"
)]
pub fn skip(why: &str) {
    let (place, thread) = (Location::caller(), std::thread::current());
    let test = thread.name().unwrap_or("a test");
    let line = format!("skipped: {test} ({}:{}): {why}\n", place.file(), place.line());
    eprint!("{line}");
    let Some(file) = std::env::var_os(SKIPPED) else {
        return;
    };
    let added = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&file)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    assert!(added.is_ok(), "cannot add to {}", file.display());
}
