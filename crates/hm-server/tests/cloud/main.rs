//! Server, agent and submitting backend together.

mod contract;
mod hostile;
mod losses;
mod support;
