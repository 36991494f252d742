//! `hm cloud build watch`.

use harmont_client::models::Build;
use hm_exec::cloud::follow;

use super::Asked;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::show;
use crate::signals::Signals;

/// Shows a build from its beginning to its end. Ctrl-C leaves the build alone: it is not ours.
pub(super) async fn watch(asked: &Asked<'_>, build: Build) -> Result<u8> {
    let mut signals = Signals::take_over().map_err(Failure::io("cannot handle", "Ctrl-C"))?;
    let name = format!("{} {}", build.pipeline_slug, build.number);
    let url = asked.watch_url(&build);
    let followed = follow(asked.session.client.clone(), &asked.org, build, Some(url))?;
    let (events, control) = followed.into_parts();
    let show::Shown { mut renderer, .. } = show::renderer(asked.context, asked.config, true)?;
    let rendered = tokio::select! {
        rendered = hm_render::render(events, renderer.as_mut(), hm_render::TICK) => rendered,
        () = signals.next() => {
            asked.context.printer.note(&format!(
                "the build goes on; `hm cloud build cancel {name}` ends it"
            ));
            return Ok(exit::CANCELED);
        }
    };
    rendered.map_err(Failure::Output)?;
    Ok(exit::of_status(control.wait().await?.status))
}
