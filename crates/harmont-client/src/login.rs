//! How a command line comes by a token.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::{HarmontClient, HarmontError, Result};

#[derive(Deserialize)]
struct Token {
    token: SecretString,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

impl HarmontClient {
    /// Trades the code that a logged-in browser shows for a session token. A code is good once.
    ///
    /// # Errors
    /// [`HarmontError::Rejected`] where it is none, was used, or is too old.
    pub async fn redeem_login_code(&self, code: &str) -> Result<SecretString> {
        let Token { token } = self
            .post(&["auth", "cli", "redeem"], &json!({ "code": code }))
            .await?;
        Ok(token)
    }

    /// Asks whether a browser has handed a session token to this nonce; `None` as long as none has.
    ///
    /// # Errors
    /// As every request.
    pub async fn claim_login(&self, nonce: &str) -> Result<Option<SecretString>> {
        let claimed = self
            .post(&["auth", "cli", "claim"], &json!({ "nonce": nonce }))
            .await;
        match claimed {
            Ok(Token { token }) => Ok(Some(token)),
            Err(HarmontError::Rejected { status: 400, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A code that another command line can trade for a session of this user.
    ///
    /// # Errors
    /// [`HarmontError::Unauthorized`].
    pub async fn login_code(&self) -> Result<String> {
        let Code { code } = self.post(&["auth", "cli", "code"], &json!({})).await?;
        Ok(code)
    }

    /// Ends the session that the token belongs to.
    ///
    /// # Errors
    /// As every request.
    pub async fn logout(&self) -> Result<()> {
        let request = self
            .request(reqwest::Method::POST, &["auth", "logout"])?
            .json(&json!({}));
        self.send(request).await.map(drop)
    }
}
