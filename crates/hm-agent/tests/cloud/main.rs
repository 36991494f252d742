//! Server, agent and submitting backend together.

mod cancel;
mod contract;
mod foreign;
mod hostile;
mod job_log;
mod losses;
mod options;
mod retention;
mod support;
