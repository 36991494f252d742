//! The local backend, on the in-memory double and under paused time.

mod cached;
mod contract;
mod endings;
mod random;
mod selection;
mod shapes;
mod start;
mod support;
