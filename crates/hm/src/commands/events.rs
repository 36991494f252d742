//! `hm events --schema`.

use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// Prints the JSON Schema of the events.
///
/// # Errors
/// When the output cannot be written.
pub fn schema(context: &Context) -> Result<u8> {
    let schema = hm_plugin_protocol::events::schema();
    let text = serde_json::to_string_pretty(&schema).map_err(|error| Failure::Output(error.into()))?;
    context.printer.data(&(text + "\n")).map_err(Failure::Output)?;
    Ok(exit::PASSED)
}
