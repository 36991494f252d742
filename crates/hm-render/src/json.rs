use std::io::{self, BufWriter, Write};

use hm_plugin_protocol::events::BuildEvent;

use crate::renderer::Renderer;
use crate::state::BuildState;

const BUFFER: usize = 64 * 1024;

/// One event a line, as it came. What is written is flushed when the stream pauses, at each tick and at the end.
#[derive(Debug)]
pub struct Json<W: Write> {
    out: BufWriter<W>,
}

impl<W: Write> Json<W> {
    /// Writes to `out`, through a buffer of its own.
    pub fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(BUFFER, out),
        }
    }
}

impl<W: Write + Send> Renderer for Json<W> {
    fn event(&mut self, event: &BuildEvent, _state: &BuildState) -> io::Result<()> {
        if matches!(event, BuildEvent::Unknown) {
            return Ok(());
        }
        serde_json::to_writer(&mut self.out, event)?;
        self.out.write_all(b"\n")
    }

    fn tick(&mut self, _state: &BuildState) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self, _state: &BuildState) -> io::Result<()> {
        self.out.flush()
    }
}
