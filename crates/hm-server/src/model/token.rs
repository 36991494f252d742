//! Tokens, and the codes of a login under way.

use chrono::{DateTime, Utc};

use crate::model::Role;
use crate::secret::SecretHash;
use crate::{OrgId, TokenId, UserId};

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A login.
    Session,
    /// A key that a person made.
    Api,
    /// An agent of an organization; it opens the agents' routes and no other.
    Agent,
}

impl TokenKind {
    /// As it is stored, and as it stands in the token's secret.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Api => "api",
            Self::Agent => "agent",
        }
    }

    /// The inverse of [`TokenKind::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Session, Self::Api, Self::Agent]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Identifies the token.
    pub id: TokenId,
    /// What it is for.
    pub kind: TokenKind,
    /// Whose it is; an agent's is nobody's.
    pub user: Option<UserId>,
    /// The one organization that it is good for; `None` for all of its user's.
    pub org: Option<OrgId>,
    /// The most that it allows, whatever its user may do.
    pub cap: Role,
    /// What its maker calls it.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is void; `None` for never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// What bounds a session that a key made which expires.
    pub bound: Option<DateTime<Utc>>,
}

impl Token {
    /// Whether it opens anything.
    #[must_use]
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// Nothing that is made with it lives longer. A person who is logged in makes what it likes and logs in anew; a key that
    /// is to end takes all with it that came of it.
    #[must_use]
    pub fn bound(&self) -> Option<DateTime<Utc>> {
        match self.kind {
            TokenKind::Session => self.bound,
            TokenKind::Api | TokenKind::Agent => self.expires_at,
        }
    }

    /// Whether it stands for its user without any limit, so that it may make other tokens.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.user.is_some() && self.org.is_none() && self.cap == Role::Owner
    }
}

/// A token to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it is for.
    pub kind: TokenKind,
    /// Whose it is.
    pub user: Option<UserId>,
    /// The one organization that it is good for.
    pub org: Option<OrgId>,
    /// The most that it allows.
    pub cap: Role,
    /// What its maker calls it.
    pub description: Option<String>,
    /// From when on it is void.
    pub expires_at: Option<DateTime<Utc>>,
    /// What bounds a session; see [`Token::bound`].
    pub bound: Option<DateTime<Utc>>,
    /// What it was made with; where that is revoked, this is too.
    pub made_with: Option<TokenId>,
    /// What its secret hashes to.
    pub hash: SecretHash,
}

/// How a command line logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginKind {
    /// A person types a code into it.
    Code,
    /// It polls with a nonce that it made up.
    Nonce,
}

impl LoginKind {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Nonce => "nonce",
        }
    }
}

/// A login under way. The session's token is made only when it is fetched, so that no secret is ever stored.
#[derive(Debug, Clone)]
pub struct NewLogin {
    /// How.
    pub kind: LoginKind,
    /// What the code or nonce hashes to.
    pub hash: SecretHash,
    /// Who will be logged in.
    pub user: UserId,
    /// From when on it is void.
    pub expires_at: DateTime<Utc>,
    /// What bounds the session; see [`Token::bound`].
    pub bound: Option<DateTime<Utc>>,
}

/// Who is logged in by a code or nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: UserId,
    /// What bounds the session; see [`Token::bound`].
    pub bound: Option<DateTime<Utc>>,
}
