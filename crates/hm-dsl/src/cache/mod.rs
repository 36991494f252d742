//! Plans kept between runs, each with a record of what it was made from.

mod entry;
mod input;
mod stamp;
mod store;
mod sweep;

pub(crate) use entry::{Entry, Inputs};
pub(crate) use store::{load, place, store};
pub(crate) use sweep::sweep;
