//! Tokens and logins in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::row::{id, maybe_id, maybe_text, maybe_time, micros, time, word};
use crate::model::{Login, LoginKind, NewLogin, NewToken, Role, Token, TokenKind};
use crate::secret::SecretHash;
use crate::store::{Result, Tokens};
use crate::{OrgId, TokenId, UserId};

fn token(row: &SqliteRow) -> Result<Token> {
    Ok(Token {
        id: id(row, "id")?,
        kind: word(row, "kind", TokenKind::parse)?,
        user: maybe_id(row, "user_id")?,
        org: maybe_id(row, "org_id")?,
        cap: word(row, "cap", Role::parse)?,
        description: maybe_text(row, "description")?,
        created_at: time(row, "created_at")?,
        expires_at: maybe_time(row, "expires_at")?,
        last_used_at: maybe_time(row, "last_used_at")?,
        revoked_at: maybe_time(row, "revoked_at")?,
        bound: maybe_time(row, "bound")?,
    })
}

#[async_trait]
impl Tokens for SqliteStore {
    async fn create_token(&self, new: NewToken, now: DateTime<Utc>) -> Result<Token> {
        let row = sqlx::query(
            "INSERT INTO tokens (id, hash, kind, user_id, org_id, cap, description, created_at, expires_at, bound, made_with) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING *",
        )
        .bind(TokenId::new().to_string())
        .bind(new.hash.as_str())
        .bind(new.kind.as_str())
        .bind(new.user.map(|id| id.to_string()))
        .bind(new.org.map(|id| id.to_string()))
        .bind(new.cap.as_str())
        .bind(new.description)
        .bind(micros(now))
        .bind(new.expires_at.map(micros))
        .bind(new.bound.map(micros))
        .bind(new.made_with.map(|id| id.to_string()))
        .fetch_one(self.database.writer())
        .await?;
        self.database.durable().await?;
        token(&row)
    }

    async fn token(&self, hash: &SecretHash) -> Result<Option<Token>> {
        let row = sqlx::query("SELECT * FROM tokens WHERE hash = $1")
            .bind(hash.as_str())
            .fetch_optional(self.database.reader())
            .await?;
        row.as_ref().map(token).transpose()
    }

    async fn api_tokens_of(&self, user: UserId) -> Result<Vec<Token>> {
        let rows = sqlx::query(
            "SELECT * FROM tokens WHERE user_id = $1 AND kind = 'api' AND revoked_at IS NULL ORDER BY id",
        )
        .bind(user.to_string())
        .fetch_all(self.database.reader())
        .await?;
        rows.iter().map(token).collect()
    }

    async fn tokens_of_org(&self, org: OrgId) -> Result<Vec<Token>> {
        let rows = sqlx::query("SELECT * FROM tokens WHERE org_id = $1 AND revoked_at IS NULL ORDER BY id")
            .bind(org.to_string())
            .fetch_all(self.database.reader())
            .await?;
        rows.iter().map(token).collect()
    }

    async fn touch_token(&self, id: TokenId, now: DateTime<Utc>) -> Result<()> {
        sqlx::query("UPDATE tokens SET last_used_at = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(micros(now))
            .execute(self.database.writer())
            .await?;
        Ok(())
    }

    async fn revoke_token(&self, id: TokenId, now: DateTime<Utc>) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE tokens SET revoked_at = $2 WHERE (id = $1 OR made_with = $1) AND revoked_at IS NULL",
        )
        .bind(id.to_string())
        .bind(micros(now))
        .execute(self.database.writer())
        .await?;
        self.database.durable().await?;
        Ok(done.rows_affected() > 0)
    }

    async fn create_login(&self, login: NewLogin) -> Result<()> {
        sqlx::query(
            "INSERT INTO logins (hash, kind, user_id, expires_at, bound) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (hash) DO UPDATE SET kind = excluded.kind, user_id = excluded.user_id, \
             expires_at = excluded.expires_at, bound = excluded.bound",
        )
        .bind(login.hash.as_str())
        .bind(login.kind.as_str())
        .bind(login.user.to_string())
        .bind(micros(login.expires_at))
        .bind(login.bound.map(micros))
        .execute(self.database.writer())
        .await?;
        self.database.durable().await?;
        Ok(())
    }

    async fn take_login(
        &self,
        kind: LoginKind,
        hash: &SecretHash,
        now: DateTime<Utc>,
    ) -> Result<Option<Login>> {
        let mut transaction = self.database.begin().await?;
        sqlx::query("DELETE FROM logins WHERE expires_at <= $1")
            .bind(micros(now))
            .execute(&mut *transaction)
            .await?;
        let row = sqlx::query("DELETE FROM logins WHERE hash = $1 AND kind = $2 RETURNING user_id, bound")
            .bind(hash.as_str())
            .bind(kind.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
        self.database.commit(transaction).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Login {
            user: id(&row, "user_id")?,
            bound: maybe_time(&row, "bound")?,
        }))
    }
}
