//! People, organizations, members and invites in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{Sqlite, Transaction};

use super::SqliteStore;
use super::database::or_taken;
use super::row::{id, maybe_text, micros, text, time, word};
use crate::model::{Invite, Member, NewInvite, NewOrganization, NewUser, Organization, Role, User};
use crate::secret::SecretHash;
use crate::store::{Accounts, MemberChange, Result};
use crate::{InviteId, OrgId, UserId};

fn user(row: &SqliteRow) -> Result<User> {
    Ok(User {
        id: id(row, "id")?,
        email: text(row, "email")?,
        name: maybe_text(row, "name")?,
        personal_org: maybe_text(row, "personal_org")?,
    })
}

fn organization(row: &SqliteRow) -> Result<Organization> {
    Ok(Organization {
        id: id(row, "id")?,
        slug: text(row, "slug")?,
        name: text(row, "name")?,
        url: maybe_text(row, "url")?,
        created_at: time(row, "created_at")?,
    })
}

fn invite(row: &SqliteRow) -> Result<Invite> {
    Ok(Invite {
        id: id(row, "id")?,
        org: id(row, "org_id")?,
        email: text(row, "email")?,
        role: word(row, "role", Role::parse)?,
        expires_at: time(row, "expires_at")?,
    })
}

/// Whether the organization would have an owner without this one.
async fn has_other_owner(
    transaction: &mut Transaction<'_, Sqlite>,
    org: OrgId,
    user: UserId,
) -> Result<bool> {
    let other: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM members WHERE org_id = $1 AND user_id <> $2 AND role = 'owner'",
    )
    .bind(org.to_string())
    .bind(user.to_string())
    .fetch_one(&mut **transaction)
    .await?;
    Ok(other > 0)
}

async fn role_of(
    transaction: &mut Transaction<'_, Sqlite>,
    org: OrgId,
    user: UserId,
) -> Result<Option<Role>> {
    let row = sqlx::query("SELECT role FROM members WHERE org_id = $1 AND user_id = $2")
        .bind(org.to_string())
        .bind(user.to_string())
        .fetch_optional(&mut **transaction)
        .await?;
    row.map(|row| word(&row, "role", Role::parse)).transpose()
}

#[async_trait]
impl Accounts for SqliteStore {
    async fn create_user(&self, new: NewUser, now: DateTime<Utc>) -> Result<User> {
        let row = sqlx::query(
            "INSERT INTO users (id, email, name, personal_org, created_at) VALUES ($1, $2, $3, $4, $5) RETURNING *",
        )
        .bind(UserId::new().to_string())
        .bind(new.email)
        .bind(new.name)
        .bind(new.personal_org)
        .bind(micros(now))
        .fetch_one(self.database.writer())
        .await
        .map_err(or_taken("the email"))?;
        self.database.durable().await?;
        user(&row)
    }

    async fn user(&self, id: UserId) -> Result<Option<User>> {
        let row = sqlx::query("SELECT * FROM users WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.database.reader())
            .await?;
        row.as_ref().map(user).transpose()
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        let row = sqlx::query("SELECT * FROM users WHERE email = $1")
            .bind(email)
            .fetch_optional(self.database.reader())
            .await?;
        row.as_ref().map(user).transpose()
    }

    async fn rename_user(&self, id: UserId, name: &str) -> Result<()> {
        sqlx::query("UPDATE users SET name = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(name)
            .execute(self.database.writer())
            .await?;
        self.database.durable().await?;
        Ok(())
    }

    async fn delete_user(&self, id: UserId) -> Result<bool> {
        let mut transaction = self.database.begin().await?;
        let sole: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM members AS mine WHERE mine.user_id = $1 AND mine.role = 'owner' AND NOT EXISTS \
             (SELECT 1 FROM members AS theirs WHERE theirs.org_id = mine.org_id \
              AND theirs.user_id <> mine.user_id AND theirs.role = 'owner')",
        )
        .bind(id.to_string())
        .fetch_one(&mut *transaction)
        .await?;
        if sole > 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM users WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        self.database.commit(transaction).await?;
        Ok(true)
    }

    async fn create_organization(&self, new: NewOrganization, now: DateTime<Utc>) -> Result<Organization> {
        let mut transaction = self.database.begin().await?;
        let row = sqlx::query(
            "INSERT INTO organizations (id, slug, name, url, created_at) VALUES ($1, $2, $3, $4, $5) RETURNING *",
        )
        .bind(OrgId::new().to_string())
        .bind(new.slug)
        .bind(new.name)
        .bind(new.url)
        .bind(micros(now))
        .fetch_one(&mut *transaction)
        .await
        .map_err(or_taken("the slug"))?;
        let made = organization(&row)?;
        sqlx::query("INSERT INTO members (org_id, user_id, role) VALUES ($1, $2, 'owner')")
            .bind(made.id.to_string())
            .bind(new.owner.to_string())
            .execute(&mut *transaction)
            .await?;
        self.database.commit(transaction).await?;
        Ok(made)
    }

    async fn organization(&self, slug: &str) -> Result<Option<Organization>> {
        let row = sqlx::query("SELECT * FROM organizations WHERE slug = $1")
            .bind(slug)
            .fetch_optional(self.database.reader())
            .await?;
        row.as_ref().map(organization).transpose()
    }

    async fn organization_by_id(&self, id: OrgId) -> Result<Option<Organization>> {
        let row = sqlx::query("SELECT * FROM organizations WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.database.reader())
            .await?;
        row.as_ref().map(organization).transpose()
    }

    async fn organizations_of(&self, user: UserId, after: &str, limit: u32) -> Result<Vec<Organization>> {
        let rows = sqlx::query(
            "SELECT organizations.* FROM organizations JOIN members ON members.org_id = organizations.id \
             WHERE members.user_id = $1 AND slug > $2 ORDER BY slug LIMIT $3",
        )
        .bind(user.to_string())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(self.database.reader())
        .await?;
        rows.iter().map(organization).collect()
    }

    async fn role(&self, org: OrgId, user: UserId) -> Result<Option<Role>> {
        let row = sqlx::query("SELECT role FROM members WHERE org_id = $1 AND user_id = $2")
            .bind(org.to_string())
            .bind(user.to_string())
            .fetch_optional(self.database.reader())
            .await?;
        row.map(|row| word(&row, "role", Role::parse)).transpose()
    }

    async fn members(&self, org: OrgId) -> Result<Vec<Member>> {
        let rows = sqlx::query(
            "SELECT users.*, members.role FROM members JOIN users ON users.id = members.user_id \
             WHERE members.org_id = $1 ORDER BY users.email",
        )
        .bind(org.to_string())
        .fetch_all(self.database.reader())
        .await?;
        let member = |row: &SqliteRow| {
            Ok(Member {
                user: user(row)?,
                role: word(row, "role", Role::parse)?,
            })
        };
        rows.iter().map(member).collect()
    }

    async fn set_role(&self, org: OrgId, user: UserId, role: Role) -> Result<MemberChange> {
        let mut transaction = self.database.begin().await?;
        let Some(now) = role_of(&mut transaction, org, user).await? else {
            return Ok(MemberChange::NotMember);
        };
        if now == Role::Owner && role != Role::Owner && !has_other_owner(&mut transaction, org, user).await? {
            return Ok(MemberChange::LastOwner);
        }
        sqlx::query("UPDATE members SET role = $3 WHERE org_id = $1 AND user_id = $2")
            .bind(org.to_string())
            .bind(user.to_string())
            .bind(role.as_str())
            .execute(&mut *transaction)
            .await?;
        self.database.commit(transaction).await?;
        Ok(MemberChange::Done)
    }

    async fn remove_member(&self, org: OrgId, user: UserId) -> Result<MemberChange> {
        let mut transaction = self.database.begin().await?;
        let Some(now) = role_of(&mut transaction, org, user).await? else {
            return Ok(MemberChange::NotMember);
        };
        if now == Role::Owner && !has_other_owner(&mut transaction, org, user).await? {
            return Ok(MemberChange::LastOwner);
        }
        sqlx::query("DELETE FROM members WHERE org_id = $1 AND user_id = $2")
            .bind(org.to_string())
            .bind(user.to_string())
            .execute(&mut *transaction)
            .await?;
        self.database.commit(transaction).await?;
        Ok(MemberChange::Done)
    }

    async fn create_invite(&self, new: NewInvite, now: DateTime<Utc>) -> Result<Invite> {
        let mut transaction = self.database.begin().await?;
        sqlx::query("DELETE FROM invites WHERE org_id = $1 AND email = $2 AND expires_at <= $3")
            .bind(new.org.to_string())
            .bind(&new.email)
            .bind(micros(now))
            .execute(&mut *transaction)
            .await?;
        let row = sqlx::query(
            "INSERT INTO invites (id, org_id, email, role, hash, expires_at) VALUES ($1, $2, $3, $4, $5, $6) \
             RETURNING *",
        )
        .bind(InviteId::new().to_string())
        .bind(new.org.to_string())
        .bind(new.email)
        .bind(new.role.as_str())
        .bind(new.hash.as_str())
        .bind(micros(new.expires_at))
        .fetch_one(&mut *transaction)
        .await
        .map_err(or_taken("an invite for this email"))?;
        self.database.commit(transaction).await?;
        invite(&row)
    }

    async fn invites(&self, org: OrgId, now: DateTime<Utc>) -> Result<Vec<Invite>> {
        let rows = sqlx::query("SELECT * FROM invites WHERE org_id = $1 AND expires_at > $2 ORDER BY email")
            .bind(org.to_string())
            .bind(micros(now))
            .fetch_all(self.database.reader())
            .await?;
        rows.iter().map(invite).collect()
    }

    async fn revoke_invite(&self, org: OrgId, id: InviteId) -> Result<bool> {
        let done = sqlx::query("DELETE FROM invites WHERE org_id = $1 AND id = $2")
            .bind(org.to_string())
            .bind(id.to_string())
            .execute(self.database.writer())
            .await?;
        self.database.durable().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn invite(&self, hash: &SecretHash, now: DateTime<Utc>) -> Result<Option<Invite>> {
        let row = sqlx::query("SELECT * FROM invites WHERE hash = $1 AND expires_at > $2")
            .bind(hash.as_str())
            .bind(micros(now))
            .fetch_optional(self.database.reader())
            .await?;
        row.as_ref().map(invite).transpose()
    }

    async fn accept_invite(&self, id: InviteId, user: UserId, now: DateTime<Utc>) -> Result<bool> {
        let mut transaction = self.database.begin().await?;
        let row = sqlx::query("DELETE FROM invites WHERE id = $1 AND expires_at > $2 RETURNING *")
            .bind(id.to_string())
            .bind(micros(now))
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(invite) = row.as_ref().map(invite).transpose()? else {
            return Ok(false);
        };
        sqlx::query(
            "INSERT INTO members (org_id, user_id, role) VALUES ($1, $2, $3) ON CONFLICT (org_id, user_id) DO NOTHING",
        )
        .bind(invite.org.to_string())
        .bind(user.to_string())
        .bind(invite.role.as_str())
        .execute(&mut *transaction)
        .await?;
        self.database.commit(transaction).await?;
        Ok(true)
    }
}
