//! The server through real HTTP, and the suites of its four traits.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails fails the test, and its line says what it did"
)]

mod access;
mod agents;
mod backup;
mod bounds;
mod builds;
mod contract;
mod dashboard;
mod full;
mod harness;
mod killed;
mod limits;
mod login;
mod logs;
mod options;
mod organizations;
mod published;
mod retention;
mod retries;
mod schemathesis;
mod suites;
mod waiting;
