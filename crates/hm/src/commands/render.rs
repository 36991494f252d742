//! `hm render`.

use crate::cli::PipelineArgs;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::pipelines;

/// Prints a pipeline's plan, byte for byte.
///
/// # Errors
/// When it does not render, or the output cannot be written.
pub fn render(context: &Context, args: &PipelineArgs) -> Result<u8> {
    let env = pipelines::variables(context, args)?;
    let source = pipelines::source(context.maybe_root(), args);
    let (_, text, _) = pipelines::text(context, args, &source, &env)?;
    context.printer.data(&text).map_err(Failure::Output)?;
    Ok(exit::PASSED)
}
