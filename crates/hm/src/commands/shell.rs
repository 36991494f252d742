//! `hm shell`.

use crate::cli::ShellArgs;
use crate::context::Context;
use crate::exit;
use crate::fail::Result;

/// Opens a shell where a step ended, or where it began.
///
/// # Errors
/// When there is no such step or snapshot.
pub fn shell(_context: &Context, _args: &ShellArgs) -> Result<u8> {
    Ok(exit::PASSED)
}
