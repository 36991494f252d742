//! What the server knows about: plain data, the same whatever keeps it.

mod account;
mod build;
mod job;
mod pipeline;
mod role;
mod token;

pub use account::{Invite, Member, NewInvite, NewOrganization, NewUser, Organization, User};
pub use build::{Attempt, Build, BuildState, Ending, NewBuild, SourceArchive};
pub use job::{Job, JobChange, JobState, NewJob};
pub use pipeline::{NewPipeline, Pipeline, Visibility};
pub use role::Role;
pub use token::{Login, LoginKind, NewLogin, NewToken, Token, TokenKind};
