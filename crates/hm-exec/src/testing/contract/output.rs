//! What steps print.

use hm_plugin_protocol::events::{BuildEvent, StdStream};

use super::Subject;
use crate::testing::{PlanWriter, StepWriter};

/// 30,000 lines of two steps at once arrive, each step's in order.
pub async fn every_line_arrives_in_order(subject: &Subject) {
    let plan = PlanWriter::of([
        StepWriter::new("one", "seq 30000"),
        StepWriter::new("two", "seq 30000 >&2"),
    ]);
    let played = subject.passes(&plan).await;
    let expected: String = (1..=30_000).map(|number: u32| format!("{number}\n")).collect();
    assert!(
        played.output("one", StdStream::Stdout) == expected,
        "a line of `one` is lost or out of place"
    );
    assert!(
        played.output("two", StdStream::Stderr) == expected,
        "a line of `two` is lost or out of place"
    );
    assert_eq!(played.output("one", StdStream::Stderr), "");
}

/// An empty line, blanks, a carriage return, a character of four bytes, and a last line without its end.
pub async fn lines_keep_their_bytes(subject: &Subject) {
    let plan = PlanWriter::of([StepWriter::new(
        "one",
        "printf 'one\\n\\n  two  \\n\u{1f980}\\nlast'",
    )]);
    let played = subject.passes(&plan).await;
    assert_eq!(
        played.output("one", StdStream::Stdout),
        "one\n\n  two  \n\u{1f980}\nlast\n"
    );
}

/// A line of a megabyte comes whole, in pieces that say that they are.
pub async fn a_long_line_comes_in_pieces(subject: &Subject) {
    let plan = PlanWriter::of([StepWriter::new("one", "head -c 1000000 /dev/zero; echo end")]);
    let played = subject.passes(&plan).await;
    let text = played.output("one", StdStream::Stdout);
    assert_eq!(text.len(), 1_000_004);
    assert!(text.ends_with("\0end\n"));
    let pieces: Vec<bool> = played
        .events
        .iter()
        .filter_map(|event| match event {
            BuildEvent::StepLog { partial, .. } => Some(*partial),
            _ => None,
        })
        .collect();
    assert!(pieces.len() > 15, "in {} pieces", pieces.len());
    assert_eq!(pieces.iter().filter(|partial| !**partial).count(), 1, "one line");
}
