//! Renders real pipeline files with the machine's python3.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod cached;
mod equivalence;
mod failures;
mod language;
mod needs;
mod pythons;
mod repo;
mod shells;
mod uncached;
