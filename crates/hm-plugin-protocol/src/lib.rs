//! The wire types that every part of hm shares: what a backend emits, what a renderer reads and what a
//! recorded run holds. Data only, no logic.
#![forbid(unsafe_code)]

pub mod events;
pub mod executor;
