//! What the doctor tells of one thing.

/// Whether something that the sandbox wants is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is.
    Ok,
    /// It is not, and steps run with less.
    Degraded,
    /// It is not, and no step can run.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What: `user namespaces`, `network`.
    pub name: String,
    /// Whether it is there.
    pub status: Status,
    /// In plain words.
    pub detail: String,
    /// The one command that mends it.
    pub fix: Option<String>,
}
