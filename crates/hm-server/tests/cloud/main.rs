//! Server, agent and submitting backend together.

mod cancel;
mod contract;
mod hostile;
mod losses;
mod support;
