//! `hm logs`: a recorded run, played through the same renderers.

use futures::StreamExt;
use hm_exec::EventStream;
use hm_plugin_protocol::events::BuildEvent;
use uuid::Uuid;

use crate::cli::LogsArgs;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::record::FinishedSteps;
use crate::{show, suggest};

/// Plays a recorded run.
///
/// # Errors
/// When there is no such run or step, or the output cannot be written.
pub fn logs(mut context: Context, args: &LogsArgs) -> Result<u8> {
    context.take_show_flags(&args.show);
    let config = context.config()?;
    let run = context.runs()?.find(args.run.as_deref(), context.maybe_root())?;
    let mut events = run.events(args.follow)?.into_stream();
    if let Some(step) = &args.step {
        let keys = FinishedSteps::of(run.events(false)?).keys;
        if !keys.contains(step) {
            let near = suggest::nearest(step, keys.iter().map(String::as_str));
            let hint = near.map_or_else(
                || format!("its steps: {}", keys.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            return Err(Failure::usage(
                format!("run {} has no step `{step}`", run.short_id()),
                [hint],
            ));
        }
        events = only_step(events, step.clone());
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
