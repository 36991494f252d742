//! How a command line comes by a token.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{HarmontClient, HarmontError, Result};

/// Without I, O, 0 and 1, which people take for each other. 32 of them, so that each is 5 bits.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// How many letters stand together.
const GROUP: usize = 4;

/// What the terminal and the browser both show of a nonce, so that a person sees that they mean the same login:
/// the first 40 bits of the nonce's SHA-256, as two groups of four letters, such as `9TQH-MK4W`.
///
/// It tells nothing that would help to guess a random nonce.
#[must_use]
pub fn check_code(nonce: &str) -> String {
    let digest = Sha256::digest(nonce.as_bytes());
    let bits = digest[..2 * GROUP * 5 / 8]
        .iter()
        .fold(0u64, |bits, byte| (bits << 8) | u64::from(*byte));
    let letter = |at: usize| char::from(ALPHABET[(bits >> (5 * at) & 31) as usize]);
    let letters: String = (0..2 * GROUP).rev().map(letter).collect();
    let (first, second) = letters.split_at(GROUP);
    format!("{first}-{second}")
}

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

    /// Whether this server has the page where a person who is logged in lets a command line in.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn has_login_page(&self) -> Result<bool> {
        let request = self.request_to(reqwest::Method::GET, &["cli"])?;
        match self.send(request).await {
            Err(HarmontError::NotFound { .. }) => Ok(false),
            Err(error @ (HarmontError::Transport { .. } | HarmontError::Server { .. })) => Err(error),
            // What it refuses without a nonce is there.
            Ok(_) | Err(_) => Ok(true),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_code_is_the_beginning_of_the_digest() {
        // `printf nonce | sha256sum` begins with 78377b5257: 01111 00000 11011 10111 10110 10100 10010 10111.
        assert_eq!(check_code("nonce"), "RA5Z-YWUZ");
        assert_ne!(check_code("nonce"), check_code("nonces"));
    }
}
