//! The docker backend, on engines that the tests start themselves.
#![expect(
    clippy::print_stderr,
    reason = "a failure says which case it was and what the engine said"
)]
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that fails fails the test, and its line says what it did"
)]

mod contract;
mod engine;
mod pulls;
mod secrets;
mod steps;
mod support;
