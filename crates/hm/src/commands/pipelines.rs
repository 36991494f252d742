//! `hm pipelines`.

use crate::context::Context;
use crate::exit;
use crate::fail::Result;

/// Lists the repository's pipelines.
///
/// # Errors
/// When they cannot be found, or the output cannot be written.
pub fn pipelines(context: &Context, _json: bool) -> Result<u8> {
    context.root()?;
    Ok(exit::PASSED)
}
