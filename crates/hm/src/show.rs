//! Chooses a renderer and runs it.

use std::io::{self, Write};

use futures::StreamExt;
use hm_exec::EventStream;

use crate::config::Config;
use crate::context::Context;

/// Renders a build to its end.
///
/// # Errors
/// When standard output cannot be written.
pub async fn render(context: &Context, config: &Config, mut events: EventStream) -> io::Result<()> {
    let _ = (context, config);
    let mut out = io::BufWriter::new(io::stdout().lock());
    while let Some(event) = events.next().await {
        serde_json::to_writer(&mut out, &event)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
