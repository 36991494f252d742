//! How a command line logs in: a person who is logged in elsewhere hands it a session.

use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use chrono::{TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::Json;
use super::{ApiError, ApiResult, Ctx};
use crate::auth::Caller;
use crate::error::ErrorBody;
use crate::model::{Login, LoginKind, NewLogin, NewToken, Role, TokenKind};
use crate::secret::{self, Secret};
use crate::state::App;

/// How long a code that a person types is good.
const CODE: TimeDelta = TimeDelta::minutes(5);
/// How long a nonce that a program polls with is good.
const NONCE: TimeDelta = TimeDelta::seconds(60);
/// How long a login lasts.
pub(crate) const SESSION: TimeDelta = TimeDelta::days(90);

/// Without I, O, 0 and 1, which people take for each other. 32 of them, so that each letter is 5 bits.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_LETTERS: usize = 16;

/// The published code of both refusals: command lines that wait for a browser ask again on this one alone.
const INVALID_CODE: &str = "cli_code_invalid";

/// The shortest nonce that cannot be guessed in the minute it lives, whatever made it.
const NONCE_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// A short, human-typeable code the user re-types into the CLI.
#[derive(Serialize, ToSchema)]
pub(super) struct CliCodeResponse {
    /// The single-use paste code. Valid for five minutes.
    code: String,
}

/// The CLI redeems a paste code the user typed in, receiving the session token.
#[derive(Deserialize, ToSchema)]
pub(super) struct CliRedeemRequest {
    /// The paste code shown to the user.
    code: String,
}

/// Hands a fresh session token to a locally-running CLI that generated `nonce` and is polling the claim endpoint.
#[derive(Deserialize, ToSchema)]
pub(super) struct CliTransferRequest {
    /// The opaque nonce the CLI generated and is polling claim with.
    nonce: String,
}

/// The CLI polls with its nonce to claim the session token that was transferred.
#[derive(Deserialize, ToSchema)]
pub(super) struct CliClaimRequest {
    /// The nonce the CLI generated for this loopback handoff.
    nonce: String,
}

/// The raw session bearer token handed to the CLI.
#[derive(Serialize, ToSchema)]
pub(super) struct CliTokenResponse {
    /// The raw session bearer token. Send it as `Authorization: Bearer <token>`.
    token: String,
}

fn new_code() -> ApiResult<String> {
    let bytes: [u8; CODE_LETTERS] = secret::random()?;
    let letter = |byte: u8| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]);
    Ok(bytes.into_iter().map(letter).collect())
}

/// A session for a person.
pub(super) async fn session(app: &App, login: Login) -> ApiResult<Secret> {
    let now = Utc::now();
    let end = now + SESSION;
    let secret = Secret::new(TokenKind::Session.as_str())?;
    let token = NewToken {
        kind: TokenKind::Session,
        user: Some(login.user),
        org: None,
        cap: Role::Owner,
        description: None,
        expires_at: Some(login.bound.map_or(end, |bound| bound.min(end))),
        bound: login.bound,
        made_with: None,
        hash: secret.hash(),
    };
    app.store.create_token(token, now).await?;
    Ok(secret)
}

/// Whom a code logs in that a person has typed. It is used up.
pub(crate) async fn take_code(app: &App, typed: &str) -> ApiResult<Option<Login>> {
    let typed = typed.chars().filter(|c| !c.is_whitespace() && *c != '-');
    let typed: String = typed.map(|c| c.to_ascii_uppercase()).collect();
    let hash = Secret::presented(typed).hash();
    Ok(app.store.take_login(LoginKind::Code, &hash, Utc::now()).await?)
}

/// Lets in the command line that polls with this nonce.
pub(crate) async fn park_login(app: &App, caller: &Caller, nonce: &str) -> ApiResult<()> {
    if !NONCE_BYTES.contains(&nonce.len()) {
        let message = "`nonce` is too short to be safe, or too long: send 16 to 512 characters.";
        return Err(ApiError::invalid("invalid_nonce", message));
    }
    let login = NewLogin {
        kind: LoginKind::Nonce,
        hash: Secret::presented(nonce).hash(),
        user: caller.user_id()?,
        expires_at: Utc::now() + NONCE,
        bound: caller.token.bound(),
    };
    app.store.create_login(login).await?;
    Ok(())
}

async fn answer(app: &App, login: Option<Login>) -> ApiResult<Option<Answer<CliTokenResponse>>> {
    let Some(login) = login else {
        return Ok(None);
    };
    let secret = session(app, login).await?;
    Ok(Some(Answer(CliTokenResponse {
        token: secret.reveal().to_owned(),
    })))
}

/// Mint a human-typeable CLI paste code
#[utoipa::path(post, path = "/api/v0/auth/cli/code", operation_id = "cliCode", tag = "auth",
    responses((status = 200, description = "The paste code", body = CliCodeResponse)))]
pub(super) async fn code(state: Ctx, caller: Extension<Caller>) -> ApiResult<Answer<CliCodeResponse>> {
    let code = new_code()?;
    let login = NewLogin {
        kind: LoginKind::Code,
        hash: Secret::presented(code.clone()).hash(),
        user: caller.user_id()?,
        expires_at: Utc::now() + CODE,
        bound: caller.token.bound(),
    };
    state.store.create_login(login).await?;
    Ok(Answer(CliCodeResponse { code }))
}

/// Redeem a CLI paste code for a session token
#[utoipa::path(post, path = "/api/v0/auth/cli/redeem", operation_id = "cliRedeem", tag = "auth",
    request_body = CliRedeemRequest,
    responses((status = 200, description = "The session token", body = CliTokenResponse),
        (status = 400, description = "Invalid or expired paste code", body = ErrorBody)))]
pub(super) async fn redeem(
    state: Ctx,
    Json(body): Json<CliRedeemRequest>,
) -> ApiResult<Answer<CliTokenResponse>> {
    let login = take_code(&state, &body.code).await?;
    answer(&state, login).await?.ok_or_else(|| {
        let message = "This code is wrong, used up or older than five minutes. Make a new one.";
        ApiError::new(StatusCode::BAD_REQUEST, INVALID_CODE, message)
    })
}

/// Hand a session token to a locally-running CLI (loopback)
#[utoipa::path(post, path = "/api/v0/auth/cli/transfer", operation_id = "cliTransfer", tag = "auth",
    request_body = CliTransferRequest,
    responses((status = 204, description = "Token parked for the CLI to claim")))]
pub(super) async fn transfer(
    state: Ctx,
    caller: Extension<Caller>,
    Json(body): Json<CliTransferRequest>,
) -> ApiResult<StatusCode> {
    park_login(&state, &caller, &body.nonce).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Claim a transferred session token (CLI loopback poll)
#[utoipa::path(post, path = "/api/v0/auth/cli/claim", operation_id = "cliClaim", tag = "auth",
    request_body = CliClaimRequest,
    responses((status = 200, description = "The session token", body = CliTokenResponse),
        (status = 400, description = "No token available for this nonce", body = ErrorBody)))]
pub(super) async fn claim(
    state: Ctx,
    Json(body): Json<CliClaimRequest>,
) -> ApiResult<Answer<CliTokenResponse>> {
    let hash = Secret::presented(body.nonce).hash();
    let login = state
        .store
        .take_login(LoginKind::Nonce, &hash, Utc::now())
        .await?;
    answer(&state, login).await?.ok_or_else(|| {
        let message = "There is no token for this nonce yet, or no longer. Ask again in a moment.";
        ApiError::new(StatusCode::BAD_REQUEST, INVALID_CODE, message)
    })
}

/// Log out (revoke the current bearer token)
#[utoipa::path(post, path = "/api/v0/auth/logout", operation_id = "logout", tag = "auth",
    responses((status = 204, description = "Token revoked")))]
pub(super) async fn logout(state: Ctx, caller: Extension<Caller>) -> ApiResult<StatusCode> {
    state.store.revoke_token(caller.token.id, Utc::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
