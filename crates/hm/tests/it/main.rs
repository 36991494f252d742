//! The command line through the real binary: a file per command, each test in an environment of its own.

mod cancel;
mod completions;
mod config;
mod doctor;
mod events;
mod flood;
mod graph;
mod harness;
mod past;
mod pipelines;
mod run;
mod usage;
mod user;
