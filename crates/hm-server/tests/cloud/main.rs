//! Server, agent and submitting backend together.

mod contract;
mod losses;
mod support;
