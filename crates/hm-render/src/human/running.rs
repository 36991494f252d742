use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::live::LiveLine;
use crate::report;
use crate::state::{BuildState, Step};
use crate::terminal::{Colors, Paint, Style, fit, safe, width};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const ASCII_SPINNER: [&str; 4] = ["|", "/", "-", "\\"];
const FRAME: Duration = Duration::from_millis(80);

/// What the live area is drawn for.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) style: Style,
    /// Whether to show the steps' newest output.
    pub(super) output: bool,
    pub(super) now: Duration,
}

/// The live area's lines: one for each running step, as many as fit, and one about the whole.
pub(super) fn lines(state: &BuildState, started: &HashMap<Uuid, Duration>, view: View) -> Vec<LiveLine> {
    // A line that fills the last column leaves the cursor in a place that terminals disagree about; a screen that is full scrolls.
    let view = View {
        columns: view.columns.saturating_sub(1).max(1),
        ..view
    };
    let room = view.rows.saturating_sub(1).max(1);
    let running = state.running().len();
    let shown = if running < room { running } else { room - 1 };
    let mut lines: Vec<LiveLine> = state
        .running()
        .take(shown)
        .map(|step| {
            step_line(
                step,
                started.get(&step.step_id).copied().unwrap_or(view.now),
                view,
            )
        })
        .collect();
    let mut whole = format!("{} {}", seconds(view.now), report::progress(state));
    if running > shown {
        whole.push_str(&format!(" ({} not shown)", running - shown));
    }
    let bare = fit(&whole, view.columns, view.style.unicode).into_owned();
    lines.push(LiveLine {
        painted: view.style.paint(Paint::Dim, &bare).to_string(),
        bare,
    });
    lines
}

fn step_line(step: &Step, started: Duration, view: View) -> LiveLine {
    let View {
        columns, style, now, ..
    } = view;
    let frame = usize::try_from(now.as_millis() / FRAME.as_millis()).unwrap_or(0);
    let frames: &[&str] = if style.unicode { &SPINNER } else { &ASCII_SPINNER };
    let spinner = frames[frame % frames.len()];
    let key = report::one_line(&step.key);
    let key = fit(&key, (columns / 2).max(8), style.unicode);
    let time = seconds(now.saturating_sub(started));
    let newest = match (newest(step).filter(|_| view.output), &step.cache_miss) {
        (Some(line), _) => safe(&line, Colors::Drop).trim_start().to_owned(),
        (None, Some(reason)) => format!("not cached: {}", report::one_line(reason)),
        (None, None) => String::new(),
    };
    let head = format!("{spinner} {key} {time} ");
    let rest = fit(&newest, columns.saturating_sub(width(&head)), style.unicode);
    let bare = format!("{head}{rest}");
    if width(&bare) > columns {
        let bare = fit(&bare, columns, style.unicode).into_owned();
        return LiveLine {
            painted: bare.clone(),
            bare,
        };
    }
    let painted = format!(
        "{} {} {} {}",
        style.paint(Paint::Warn, spinner),
        style.paint(Paint::Bold, key),
        time,
        style.paint(Paint::Dim, rest)
    );
    LiveLine { bare, painted }
}

/// The newest line of the step, or, as long as it has printed nothing and may be waiting for them, of its services.
fn newest(step: &Step) -> Option<Cow<'_, str>> {
    if let Some(line) = step.tail.newest() {
        return Some(Cow::Borrowed(line));
    }
    step.services.iter().rev().find_map(|output| {
        let line = output.tail.newest()?;
        Some(Cow::Owned(format!(
            "{}: {line}",
            report::one_line(&output.service)
        )))
    })
}

/// Elapsed time that does not flicker: no smaller unit than tenths.
fn seconds(elapsed: Duration) -> String {
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    if ms < 1000 {
        format!("0.{}s", ms / 100)
    } else {
        report::duration(ms)
    }
}
