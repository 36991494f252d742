//! Faults that a real server does not produce on demand; the real one is tried in `hm-server`'s tests.

mod fake;
mod requests;
mod streams;
