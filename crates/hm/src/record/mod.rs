//! Recorded runs: `<data>/runs/<run id>/` holds `run.json` (what was asked, how it ended), `plan.json` (the
//! plan, byte for byte) and `events.jsonl` (every event). The process that runs a build holds a lock on its
//! `events.jsonl`, so that a living run is told from one that was killed.

mod reader;
mod run;
mod store;
mod writer;

pub use reader::FinishedSteps;
pub use run::{RecordedOptions, RecordedStatus, RunRecord};
pub use store::{Run, RunStore};
pub use writer::Recorder;
