//! The command line through the real binary: a file per command, each test in an environment of its own.

mod completions;
mod config;
mod doctor;
mod events;
mod graph;
mod harness;
mod pipelines;
mod usage;
