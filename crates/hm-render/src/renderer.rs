use std::io;

use hm_plugin_protocol::events::BuildEvent;

use crate::state::BuildState;

/// What turns events into something to read. Every method may do nothing.
pub trait Renderer: Send {
    /// An event has arrived; `state` has it already.
    ///
    /// # Errors
    /// When the writer fails.
    fn event(&mut self, event: &BuildEvent, state: &BuildState) -> io::Result<()> {
        let _ = (event, state);
        Ok(())
    }

    /// Time has passed, or the stream has nothing at the moment: whatever is held back is to be shown now.
    ///
    /// # Errors
    /// When the writer fails.
    fn tick(&mut self, state: &BuildState) -> io::Result<()> {
        let _ = state;
        Ok(())
    }

    /// The stream has ended, with or without a `build_end`. Called once.
    ///
    /// # Errors
    /// When the writer fails.
    fn finish(&mut self, state: &BuildState) -> io::Result<()> {
        let _ = state;
        Ok(())
    }
}
