//! Log tokens: signed, good for one build's logs and for an hour, and known to nobody but their bearer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::BuildId;
use crate::signing::Signer;

/// What is signed begins with this, so that a signature of something else is never taken for a log token's.
const PURPOSE: &[u8] = b"hm log token 1\0";

/// The build's 16 bytes, then the moment's 8.
const CLAIM_BYTES: usize = 24;

impl Signer {
    /// A token for a build's logs.
    pub(crate) fn log_token(&self, build: BuildId, expires_at: DateTime<Utc>) -> String {
        let mut token = Vec::with_capacity(CLAIM_BYTES + 32);
        token.extend_from_slice(build.0.as_bytes());
        token.extend_from_slice(&expires_at.timestamp().to_be_bytes());
        let signature = self.sign(&[PURPOSE, &token].concat());
        token.extend_from_slice(&signature);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The build whose logs a token opens.
    pub(crate) fn log_build(&self, token: &str, now: DateTime<Utc>) -> Option<BuildId> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (claim, signature) = token.split_at_checked(CLAIM_BYTES)?;
        if !self.verify(&[PURPOSE, claim].concat(), signature) {
            return None;
        }
        let (build, expires_at) = claim.split_at_checked(16)?;
        let expires_at = i64::from_be_bytes(expires_at.try_into().ok()?);
        (now.timestamp() < expires_at).then_some(BuildId(Uuid::from_slice(build).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_token_opens_one_build_until_it_expires_and_only_as_it_was_signed() {
        let directory = tempfile::tempdir().unwrap();
        let signer = Signer::open(&directory.path().join("key")).unwrap();
        let (build, now) = (BuildId::new(), Utc::now());
        let end = now + TimeDelta::hours(1);
        let token = signer.log_token(build, end);
        assert_eq!(signer.log_build(&token, now), Some(build));
        assert_eq!(signer.log_build(&token, end), None);

        let again = Signer::open(&directory.path().join("key")).unwrap();
        assert_eq!(again.log_build(&token, now), Some(build));
        let other = Signer::open(&directory.path().join("other")).unwrap();
        assert_eq!(other.log_build(&token, now), None);

        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for place in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 1;
            assert_eq!(signer.log_build(&URL_SAFE_NO_PAD.encode(bytes), now), None);
        }
        for cut in 0..token.len() {
            assert_eq!(signer.log_build(&token[..cut], now), None);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        Signer::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
