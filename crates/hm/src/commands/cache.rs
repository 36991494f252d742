//! `hm cache`.

use super::table;
use crate::backend::Machines;
use crate::cli::CacheCommand;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// Looks at the snapshots, or removes some.
///
/// # Errors
/// When the store cannot be used, or the output cannot be written.
pub fn cache(context: &Context, command: &CacheCommand) -> Result<u8> {
    let config = context.config()?;
    let machines = Machines::new(context, &config)?;
    let _ = command;
    let usage = super::runtime()?.block_on(machines.vm().usage())?;
    context
        .printer
        .data(&format!(
            "{} snapshots, {}\n",
            usage.snapshots,
            table::size(usage.bytes)
        ))
        .map_err(Failure::Output)?;
    Ok(exit::PASSED)
}
