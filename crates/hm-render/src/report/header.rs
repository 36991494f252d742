use hm_plugin_protocol::events::PinnedImage;

use super::duration::duration;
use super::step::one_line;
use crate::run_id::short_run_id;
use crate::state::BuildState;

/// How many images are named beside the default one.
const IMAGES: usize = 8;

/// From when on a person is told how long it took to get ready.
const TOLD_MS: u64 = 1000;

/// How many digits of a digest are shown.
const PIN_DIGITS: usize = 12;

/// What is about to run: a line about the run, one about its images, one about its source, one for each notice.
pub(crate) fn header(state: &BuildState) -> Vec<String> {
    let header = state.header();
    let mut run = vec![match (state.run_id(), &header.pipeline) {
        (Some(run_id), Some(pipeline)) => format!("run {} of {}", short_run_id(run_id), one_line(pipeline)),
        (Some(run_id), None) => format!("run {}", short_run_id(run_id)),
        (None, _) => "run".to_owned(),
    }];
    if let Some(plan) = state.plan() {
        run.push(count(plan.step_count as u64, "step"));
    }
    if let Some(parallelism) = header.parallelism {
        run.push(format!("{parallelism} at once"));
    }
    if let Some(backend) = &header.backend {
        run.push(format!("on {}", one_line(backend)));
    }
    let is_used =
        |image: &String| header.images.is_empty() || header.images.iter().any(|pinned| pinned.name == *image);
    if let Some(image) = header.default_image.as_ref().filter(|image| is_used(image)) {
        let pin = header.images.iter().find(|pinned| pinned.name == *image);
        run.push(format!(
            "image {}{}",
            one_line(image),
            pin.and_then(pin_of).unwrap_or_default()
        ));
    }
    if let Some(ms) = header.prepare_ms.filter(|ms| *ms >= TOLD_MS) {
        run.push(format!("ready after {}", duration(ms)));
    }
    let mut lines = vec![run.join(", ")];
    let images: Vec<String> = header
        .images
        .iter()
        .filter(|image| header.default_image.as_ref() != Some(&image.name))
        .filter_map(|image| Some(format!("{}{}", one_line(&image.name), pin_of(image)?)))
        .collect();
    if !images.is_empty() {
        let more = match images.len().saturating_sub(IMAGES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = images[..images.len().min(IMAGES)].join(", ");
        lines.push(format!("images: {named}{more}"));
    }
    if let Some(files) = header.source_files {
        let files = count(files, "file");
        lines.push(match header.source_changed {
            Some(0) => format!("source: {files}, unchanged"),
            Some(changed) => format!("source: {files}, {changed} brought in"),
            None => format!("source: {files}"),
        });
    }
    lines.extend(
        header
            .notices
            .iter()
            .map(|notice| format!("note: {}", one_line(notice))),
    );
    lines
}

/// What an image's name stands for, short as people write it. A digest of another kind, such as the host's, says nothing to them.
fn pin_of(image: &PinnedImage) -> Option<String> {
    let pin = image.digest.strip_prefix("sha256:")?.get(..PIN_DIGITS)?;
    Some(format!("@{}", one_line(pin)))
}

/// A number of things.
pub(super) fn count(n: u64, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}
