//! The embedded log bus: a directory per build, in it segments of whole lines.
//!
//! A segment's name is the number of its first record, and a record's number follows from its line, so that a
//! log needs no index: whoever looks for a number reads one segment at most. A segment is closed when it reaches
//! [`SEGMENT_BYTES`]. Nobody reads, and nobody is told of, what is not on the disk yet. What a crash left of a line at the
//! end is cut off when the log is next opened.

mod bus;
mod layout;
mod reader;
mod writer;

pub use bus::FileLogBus;

/// When a segment is full.
const SEGMENT_BYTES: u64 = 1 << 20;
