//! Who asks, and what for: tokens, log tokens, rates, and the guard before every route.

pub(crate) mod address;
mod caller;
pub(crate) mod cookie;
mod guard;
mod log_token;
mod rates;
mod signing;

pub(crate) use caller::{Caller, Scope, Watched, bearer};
pub(crate) use guard::{Access, AgentOrg, Gate, guard, scope};
pub(crate) use rates::RateLimits;
pub(crate) use signing::Signer;
pub use signing::SigningError;
