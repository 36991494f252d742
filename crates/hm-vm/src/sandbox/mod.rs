//! Placeholder.

pub mod layers;
