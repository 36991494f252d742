use std::io;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use hm_plugin_protocol::events::BuildEvent;
use tokio::time::Instant;

use crate::renderer::Renderer;
use crate::state::BuildState;

/// A good interval for [`render`]: a spinner turns smoothly, and drawing costs nothing to speak of.
pub const TICK: Duration = Duration::from_millis(80);

/// How long something written may wait for more before it is shown, when the stream has nothing at the moment.
const SETTLE: Duration = Duration::from_millis(10);

/// How many events may pass between two looks at the clock while the stream never pauses.
const EVENTS_PER_LOOK: u32 = 16;

/// Renders `stream` to its end, and returns what the build has come to.
///
/// # Errors
/// When the renderer's writer fails. The rest of the stream is then unread; use [`render_into`] to go on with another renderer.
pub async fn render<S>(stream: S, renderer: &mut dyn Renderer, tick: Duration) -> io::Result<BuildState>
where
    S: Stream<Item = BuildEvent> + Unpin,
{
    let mut state = BuildState::default();
    render_into(&mut state, stream, renderer, tick).await?;
    Ok(state)
}

/// As [`render`], with a state that outlives an error: pass `&mut stream`, and on an error call this again with the same state
/// and another renderer (such as the record alone) to read the rest.
///
/// # Errors
/// When the renderer's writer fails.
pub async fn render_into<S>(
    state: &mut BuildState,
    mut stream: S,
    renderer: &mut dyn Renderer,
    tick: Duration,
) -> io::Result<()>
where
    S: Stream<Item = BuildEvent> + Unpin,
{
    let mut shown = Instant::now();
    let mut held = false;
    let mut events = 0_u32;
    loop {
        let next = match stream.next().now_or_never() {
            Some(next) => next,
            None => {
                let wait = if held { SETTLE.min(tick) } else { tick };
                tokio::select! {
                    biased;
                    next = stream.next() => next,
                    () = tokio::time::sleep_until(shown + wait) => {
                        renderer.tick(state)?;
                        shown = Instant::now();
                        held = false;
                        continue;
                    }
                }
            }
        };
        let Some(event) = next else { break };
        state.apply(&event);
        renderer.event(&event, state)?;
        held = true;
        events = events.wrapping_add(1);
        if events.is_multiple_of(EVENTS_PER_LOOK) && shown.elapsed() >= tick {
            renderer.tick(state)?;
            shown = Instant::now();
            held = false;
        }
    }
    renderer.finish(state)
}

/// Renders a recorded build.
///
/// # Errors
/// When the record cannot be read, or the renderer's writer fails.
pub fn replay(
    events: impl IntoIterator<Item = io::Result<BuildEvent>>,
    renderer: &mut dyn Renderer,
) -> io::Result<BuildState> {
    let mut state = BuildState::default();
    for event in events {
        let event = event?;
        state.apply(&event);
        renderer.event(&event, &state)?;
    }
    renderer.finish(&state)?;
    Ok(state)
}
