//! How often somebody may ask.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::TokenId;
use crate::config::{Rate, Rates};
use crate::model::TokenKind;

/// Somebody asked too often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TooMany {
    /// When it may be tried again, from now.
    pub(crate) wait: Duration,
}

/// Counts of who asked how often, in memory: a restart forgives.
pub(crate) struct RateLimits {
    tokens: DefaultKeyedRateLimiter<TokenId>,
    agents: DefaultKeyedRateLimiter<TokenId>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    logins: DefaultKeyedRateLimiter<IpAddr>,
}

impl RateLimits {
    pub(crate) fn new(rates: &Rates) -> Self {
        Self {
            tokens: RateLimiter::keyed(quota(rates.token)),
            agents: RateLimiter::keyed(quota(rates.agent)),
            addresses: RateLimiter::keyed(quota(rates.address)),
            logins: RateLimiter::keyed(quota(rates.login)),
        }
    }

    pub(crate) fn token(&self, token: TokenId, kind: TokenKind) -> Result<(), TooMany> {
        match kind {
            TokenKind::Agent => check(&self.agents, &token),
            TokenKind::Session | TokenKind::Api => check(&self.tokens, &token),
        }
    }

    pub(crate) fn address(&self, address: IpAddr) -> Result<(), TooMany> {
        check(&self.addresses, &household(address))
    }

    pub(crate) fn login(&self, address: IpAddr) -> Result<(), TooMany> {
        check(&self.logins, &household(address))
    }

    /// Forgets who has not asked for long.
    pub(crate) fn sweep(&self) {
        self.tokens.retain_recent();
        self.agents.retain_recent();
        self.addresses.retain_recent();
        self.logins.retain_recent();
    }
}

fn quota(rate: Rate) -> Quota {
    Quota::per_second(rate.per_second).allow_burst(rate.burst)
}

/// A household has a whole /64 of addresses.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

fn check<K: Clone + Hash + Eq>(limiter: &DefaultKeyedRateLimiter<K>, key: &K) -> Result<(), TooMany> {
    limiter.check_key(key).map_err(|refused| {
        let wait = refused.wait_time_from(DefaultClock::default().now());
        TooMany { wait }
    })
}
