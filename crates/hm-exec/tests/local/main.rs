//! The local backend, on the in-memory double and under paused time.

mod artifacts;
mod cached;
mod contract;
mod endings;
mod random;
mod random_services;
mod secrets;
mod selection;
mod services;
mod shapes;
mod start;
mod support;
