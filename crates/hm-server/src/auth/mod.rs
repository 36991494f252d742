//! Who asks, and what for: tokens, log tokens, and the guard before every route.

pub(crate) mod address;
mod caller;
pub(crate) mod cookie;
mod guard;
mod log_token;

pub(crate) use caller::{Caller, Scope, Watched, bearer};
pub(crate) use guard::{Access, AgentOrg, Gate, guard, scope};
