//! The wire types that every part of hm shares: what a backend emits, what a renderer reads and what a
//! recorded run holds. Data, and what every reader of it has to agree on.
#![forbid(unsafe_code)]

mod end;
pub mod events;
pub mod executor;
pub mod old;
