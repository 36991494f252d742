//! Who asks, and what for: tokens, log tokens, rates, and the guard before every route.

mod address;
mod caller;
mod guard;
mod log_token;
mod rates;
mod signing;

pub(crate) use caller::{Caller, Scope, Watched, bearer};
pub(crate) use guard::{Access, AgentOrg, Gate, guard};
pub(crate) use rates::RateLimits;
pub(crate) use signing::Signer;
pub use signing::SigningError;
