//! What tests of execution backends need: plans to run, a checker of the event order, and a contract suite.

pub mod contract;
mod order;
mod plan;
mod played;

pub use order::check_order;
pub use plan::{PlanWriter, StepWriter};
pub use played::{Played, play, request};
