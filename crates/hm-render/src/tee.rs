use std::io;

use hm_plugin_protocol::events::BuildEvent;

use crate::renderer::Renderer;
use crate::state::BuildState;

/// Several renderers of one build, such as the terminal and the run's record.
///
/// One that fails is dropped, after the others have had the event; its error is returned once. Whoever drives the tee may then
/// go on with it ([`render_into`](crate::render_into)): the others are complete.
#[derive(Default)]
pub struct Tee {
    renderers: Vec<Box<dyn Renderer>>,
}

impl Tee {
    /// A tee over `renderers`, called in this order.
    #[must_use]
    pub fn new(renderers: Vec<Box<dyn Renderer>>) -> Self {
        Self { renderers }
    }

    /// How many renderers are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.renderers.len()
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.renderers.is_empty()
    }

    fn each(&mut self, mut call: impl FnMut(&mut dyn Renderer) -> io::Result<()>) -> io::Result<()> {
        let mut first = Ok(());
        self.renderers
            .retain_mut(|renderer| match call(renderer.as_mut()) {
                Ok(()) => true,
                Err(error) => {
                    if first.is_ok() {
                        first = Err(error);
                    }
                    false
                }
            });
        first
    }
}

impl std::fmt::Debug for Tee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tee")
            .field("renderers", &self.renderers.len())
            .finish()
    }
}

impl Renderer for Tee {
    fn event(&mut self, event: &BuildEvent, state: &BuildState) -> io::Result<()> {
        self.each(|renderer| renderer.event(event, state))
    }

    fn tick(&mut self, state: &BuildState) -> io::Result<()> {
        self.each(|renderer| renderer.tick(state))
    }

    fn finish(&mut self, state: &BuildState) -> io::Result<()> {
        self.each(|renderer| renderer.finish(state))
    }
}
