//! Pages of lists.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{ApiError, ApiResult};

const MOST: i64 = 100;
const USUAL: i64 = 50;

/// Which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Page size (1–100, default 50).
    #[param(nullable = false)]
    limit: Option<i64>,
    /// Opaque cursor from a previous page's `next_cursor`.
    #[param(nullable = false)]
    cursor: Option<String>,
}

impl PageQuery {
    /// How many are wanted; a number beyond the bounds is taken as the bound.
    pub(super) fn limit(&self) -> usize {
        let limit = self.limit.unwrap_or(USUAL).clamp(1, MOST);
        usize::try_from(limit).unwrap_or(1)
    }

    /// One more than wanted, which tells whether there is another page.
    pub(super) fn peek(&self) -> u32 {
        u32::try_from(self.limit() + 1).unwrap_or(u32::MAX)
    }

    /// Behind what the page begins.
    pub(super) fn after(&self) -> ApiResult<Option<String>> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
        let after = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        after.map(Some).ok_or_else(bad_cursor)
    }

    /// Cuts a list to the page, and says where the next begins.
    pub(super) fn cut<T>(&self, list: &mut Vec<T>, key: impl FnOnce(&T) -> String) -> Option<String> {
        if list.len() <= self.limit() {
            return None;
        }
        list.truncate(self.limit());
        list.last().map(|last| URL_SAFE_NO_PAD.encode(key(last)))
    }
}

pub(super) fn bad_cursor() -> ApiError {
    ApiError::malformed("`cursor` is none: pass the `next_cursor` of the page before.")
}
