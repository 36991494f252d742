//! The embedded log bus: a directory per build, in it segments of whole lines.
//!
//! A segment's name is the number of its first record, and a record's number follows from its line, so that a
//! log needs no index: whoever looks for a number reads one segment at most. A segment is closed when it reaches
//! [`SEGMENT_BYTES`]. What a crash left of a line at the end is cut off when the log is next opened for writing; nobody
//! reads past the last whole line.

mod bus;
mod layout;
mod reader;
mod writer;

pub use bus::FileLogBus;

/// When a segment is full.
const SEGMENT_BYTES: u64 = 1 << 20;
