//! People, organizations, members and invites.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::{Invite, Member, NewInvite, NewOrganization, NewUser, Organization, Role, User};
use crate::secret::SecretHash;
use crate::store::Result;
use crate::{InviteId, OrgId, UserId};

/// What became of a change to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    /// It was made.
    Done,
    /// There is no such member.
    NotMember,
    /// It would leave the organization without an owner; nothing was changed.
    LastOwner,
}

/// People, organizations, members and invites.
///
/// # Errors
/// Every method fails when the store does. `create_*` answer [`crate::store::StoreError::Taken`] when what must be unique is not.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Adds a person; the email must be new.
    async fn create_user(&self, user: NewUser, now: DateTime<Utc>) -> Result<User>;

    /// A person by id.
    async fn user(&self, id: UserId) -> Result<Option<User>>;

    /// A person by email.
    async fn user_by_email(&self, email: &str) -> Result<Option<User>>;

    /// Changes what a person is called.
    async fn rename_user(&self, id: UserId, name: &str) -> Result<()>;

    /// Removes a person, memberships, tokens and logins with it. `false`, and nothing is changed, when an
    /// organization would be left without an owner.
    async fn delete_user(&self, id: UserId) -> Result<bool>;

    /// Adds an organization and its first owner; the slug must be new.
    async fn create_organization(&self, new: NewOrganization, now: DateTime<Utc>) -> Result<Organization>;

    /// An organization by slug.
    async fn organization(&self, slug: &str) -> Result<Option<Organization>>;

    /// An organization by id.
    async fn organization_by_id(&self, id: OrgId) -> Result<Option<Organization>>;

    /// A person's organizations by slug, those after `after`, at most `limit`.
    async fn organizations_of(&self, user: UserId, after: &str, limit: u32) -> Result<Vec<Organization>>;

    /// What a person may do in an organization.
    async fn role(&self, org: OrgId, user: UserId) -> Result<Option<Role>>;

    /// An organization's members by email.
    async fn members(&self, org: OrgId) -> Result<Vec<Member>>;

    /// Changes what a member may do.
    async fn set_role(&self, org: OrgId, user: UserId, role: Role) -> Result<MemberChange>;

    /// Removes a member.
    async fn remove_member(&self, org: OrgId, user: UserId) -> Result<MemberChange>;

    /// Adds an invite. An expired one for the same email is replaced; a living one is
    /// [`crate::store::StoreError::Taken`].
    async fn create_invite(&self, invite: NewInvite, now: DateTime<Utc>) -> Result<Invite>;

    /// An organization's living invites by email.
    async fn invites(&self, org: OrgId, now: DateTime<Utc>) -> Result<Vec<Invite>>;

    /// Removes an invite. `false` when it is not there.
    async fn revoke_invite(&self, org: OrgId, id: InviteId) -> Result<bool>;

    /// A living invite by its token.
    async fn invite(&self, hash: &SecretHash, now: DateTime<Utc>) -> Result<Option<Invite>>;

    /// Uses an invite up and makes the person a member. A member keeps the role it has. `false` when
    /// the invite is not living any more.
    async fn accept_invite(&self, id: InviteId, user: UserId, now: DateTime<Utc>) -> Result<bool>;
}
