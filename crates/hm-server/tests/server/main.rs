//! The server through real HTTP, and the suites of its four traits.

mod access;
mod agents;
mod builds;
mod contract;
mod harness;
mod limits;
mod login;
mod logs;
mod organizations;
mod suites;
