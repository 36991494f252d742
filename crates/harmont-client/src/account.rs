//! The user that the token belongs to, and the user's API tokens.

use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::models::{ApiToken, CreatedApiToken, CurrentUser, NewApiToken};
use crate::{HarmontClient, Result};

#[derive(Deserialize)]
struct ApiTokens {
    api_tokens: Vec<ApiToken>,
}

#[derive(Deserialize)]
struct Status {
    status: String,
}

impl HarmontClient {
    /// Whether the server answers, and is one of this API.
    ///
    /// # Errors
    /// When it does not, or is not.
    pub async fn ping(&self) -> Result<String> {
        let Status { status } = self.get(&["ping"], &[]).await?;
        Ok(status)
    }

    /// The user that the token belongs to.
    ///
    /// # Errors
    /// [`crate::HarmontError::Unauthorized`].
    pub async fn current_user(&self) -> Result<CurrentUser> {
        self.get(&["user"], &[]).await
    }

    /// Calls the user something else.
    ///
    /// # Errors
    /// [`crate::HarmontError::Rejected`] where that is no name.
    pub async fn rename_user(&self, name: &str) -> Result<CurrentUser> {
        self.patch(&["user"], &json!({ "name": name })).await
    }

    /// The user's API tokens, without their secrets.
    ///
    /// # Errors
    /// As every request.
    pub async fn api_tokens(&self) -> Result<Vec<ApiToken>> {
        let ApiTokens { api_tokens } = self.get(&["user", "api-tokens"], &[]).await?;
        Ok(api_tokens)
    }

    /// Makes an API token.
    ///
    /// # Errors
    /// As every request.
    pub async fn create_api_token(&self, new: &NewApiToken) -> Result<CreatedApiToken> {
        self.post(&["user", "api-tokens"], new).await
    }

    /// Makes an API token good for nothing.
    ///
    /// # Errors
    /// [`crate::HarmontError::NotFound`].
    pub async fn revoke_api_token(&self, id: Uuid) -> Result<()> {
        let id = id.to_string();
        self.delete(&["user", "api-tokens", &id]).await
    }
}
