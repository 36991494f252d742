//! `hm logs`: a recorded run, played through the same renderers.

use futures::StreamExt;
use hm_exec::EventStream;
use hm_plugin_protocol::events::BuildEvent;
use uuid::Uuid;

use crate::cli::LogsArgs;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::{address, show};

/// Plays a recorded run.
///
/// # Errors
/// When there is no such run or step, or the output cannot be written.
pub fn logs(mut context: Context, args: &LogsArgs) -> Result<u8> {
    context.take_show_flags(&args.show);
    let config = context.config()?;
    let named = address::run_or_step(&context, args.run.as_deref())?;
    let run = named.run;
    let mut events = run.events(args.follow)?.into_stream();
    if let Some(step) = address::key(&run, args.step.as_deref().or(named.step.as_deref()))? {
        events = only_step(events, step);
    }
    let mut renderer = show::renderer(&context, &config, args.follow)?.renderer;
    let play = hm_render::render(events, renderer.as_mut(), hm_render::TICK);
    super::runtime()?.block_on(play).map_err(Failure::Output)?;
    if !args.follow && run.record()?.status.is_none() {
        let why = if run.is_running() {
            "the run goes on; `hm logs --follow` stays with it"
        } else {
            "the run was killed here"
        };
        context.printer.note(why);
    }
    Ok(exit::PASSED)
}

/// Leaves out what belongs to other steps.
fn only_step(events: EventStream, wanted: String) -> EventStream {
    let mut id: Option<Uuid> = None;
    events
        .filter(move |event| {
            if let BuildEvent::StepQueued { step_id, key, .. } = event
                && *key == wanted
            {
                id = Some(*step_id);
            }
            let keep = event.step_id().is_none_or(|step| Some(step) == id);
            async move { keep }
        })
        .boxed()
}
