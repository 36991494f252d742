//! What a server is told. Nothing is read from the environment.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// What a server is told.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where everything is kept: the database, logs, blobs and the signing key.
    pub data: PathBuf,
    /// How agents and clients reach this server, without a slash at the end.
    pub public_url: String,
    /// How people reach the dashboard, without a slash at the end.
    pub app_url: String,
    /// How large things may be.
    pub limits: Limits,
    /// How often somebody may ask.
    pub rates: Rates,
    /// What holds for agents.
    pub agents: AgentRules,
    /// How long things are kept.
    pub keep: Keep,
    /// How long a client may take.
    pub patience: Patience,
    /// Proxies that are believed whose request they pass on.
    pub trusted_proxies: Vec<IpNet>,
}

impl ServerConfig {
    /// A server that keeps its data here and is reached by this URL, with the usual limits.
    #[must_use]
    pub fn new(data: PathBuf, public_url: impl Into<String>) -> Self {
        let public_url = public_url.into();
        let public_url = public_url.trim_end_matches('/').to_owned();
        Self {
            data,
            app_url: public_url.clone(),
            public_url,
            limits: Limits::default(),
            rates: Rates::default(),
            agents: AgentRules::default(),
            keep: Keep::default(),
            patience: Patience::default(),
            trusted_proxies: Vec::new(),
        }
    }

    /// Where people watch a build.
    #[must_use]
    pub fn watch_url(&self, org: &str, pipeline: &str, number: i64) -> String {
        format!("{}/{org}/{pipeline}/builds/{number}", self.app_url)
    }
}

/// How large things may be, in bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A source archive.
    pub source: u64,
    /// A build's description without its source archive; most of it is the plan, with its quotes escaped.
    pub description: usize,
    /// A plan. One that is longer is not parsed.
    pub plan: usize,
    /// Events that an agent sends at a time.
    pub events: usize,
    /// Any other request.
    pub request: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source: 1 << 30,
            description: 32 << 20,
            plan: 16 << 20,
            events: 8 << 20,
            request: 1 << 20,
        }
    }
}

/// How often somebody may ask: so many per second in the long run, and so many at once.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A rate. A zero counts as one.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let positive = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            per_second: positive(per_second),
            burst: positive(burst),
        }
    }
}

/// How often somebody may ask.
#[derive(Debug, Clone)]
pub struct Rates {
    /// With one person's token.
    pub token: Rate,
    /// With one agent's token.
    pub agent: Rate,
    /// From one address without a good token.
    pub address: Rate,
    /// From one address with a code that could be guessed.
    pub login: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            token: Rate::new(50, 500),
            agent: Rate::new(500, 2000),
            address: Rate::new(10, 100),
            login: Rate::new(1, 10),
        }
    }
}

/// What holds for agents.
#[derive(Debug, Clone)]
pub struct AgentRules {
    /// How long a build stays an agent's that says nothing.
    pub lease: Duration,
    /// How long a request may wait: one for a build, or one that holds a build.
    pub poll: Duration,
    /// How many agents a build may lose before it fails.
    pub losses: u32,
    /// How often to look for lost agents.
    pub sweep: Duration,
}

impl AgentRules {
    /// How long a request that holds a build may wait: so short that two more may come late before the lease ends.
    #[must_use]
    pub fn hold(&self) -> Duration {
        (self.lease / 3).min(self.poll)
    }
}

impl Default for AgentRules {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(30),
            losses: 3,
            sweep: Duration::from_secs(2),
        }
    }
}

/// How long is kept what ended builds leave. The builds themselves, their jobs and results stay.
#[derive(Debug, Clone)]
pub struct Keep {
    /// A log, from its build's end on; `None` for ever.
    pub logs: Option<Duration>,
    /// A source archive, from its build's end on; `None` for ever. Without it a build cannot be retried.
    pub sources: Option<Duration>,
    /// How many bytes all source archives may have together before those of the oldest ended builds go; `None` for any.
    pub source_bytes: Option<u64>,
    /// How often to look for what is kept no longer.
    pub sweep: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        Self {
            logs: Some(days(90)),
            sources: Some(days(14)),
            source_bytes: Some(20 << 30),
            sweep: Duration::from_secs(60),
        }
    }
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Its head, from the first byte or from the end of the request before.
    pub head: Duration,
    /// Its body, besides what its length allows.
    pub body: Duration,
    /// The slowest line that a body may come over.
    pub bytes_per_second: u64,
    /// To take the next of what it is sent, where the system knows: whoever watches and takes nothing keeps memory.
    pub stall: Duration,
}

impl Patience {
    /// How long a body may let the server wait of which so much has come.
    pub(crate) fn body(&self, bytes: u64) -> Duration {
        self.body + Duration::from_secs(bytes / self.bytes_per_second.max(1))
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // Longer than proxies keep a connection that nobody uses.
            head: Duration::from_secs(75),
            body: Duration::from_secs(60),
            bytes_per_second: 4096,
            stall: Duration::from_secs(120),
        }
    }
}
