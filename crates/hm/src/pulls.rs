//! What is shown while images are fetched.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hm_oci::{ImageProgress, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::context::Context;
use crate::printer::{Printer, Verbosity};
use crate::show::Notes;
use crate::sizes::size;

/// How often a bar that nothing happens to is drawn again.
const TICK: Duration = Duration::from_millis(120);

/// Tells about pulls on standard error: by bars on a terminal, by a line at the beginning and one at the end
/// elsewhere.
pub struct Pulls {
    printer: Printer,
    bars: Option<MultiProgress>,
    /// Says it instead, once something else draws on the terminal.
    notes: OnceLock<Notes>,
    images: Mutex<BTreeMap<String, Pull>>,
}

/// One image on its way.
#[derive(Default)]
struct Pull {
    begun: bool,
    bar: Option<ProgressBar>,
    digest: String,
    /// Packed bytes of each layer that is here.
    layers: BTreeMap<usize, u64>,
    bytes: u64,
    missing: usize,
    done: usize,
}

impl fmt::Debug for Pulls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pulls")
    }
}

impl Pulls {
    /// Draws bars where standard error is a terminal that can.
    pub fn new(context: &Context) -> Self {
        let environment = &context.environment;
        let dumb = environment.get(crate::env_vars::TERM) == Some("dumb");
        let quiet = context.printer.verbosity() == Verbosity::Quiet;
        let drawn = environment.stderr_tty && !dumb && !quiet;
        Self {
            printer: context.printer,
            bars: drawn.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
            notes: OnceLock::new(),
            images: Mutex::default(),
        }
    }

    /// From here on something else draws on the terminal: no more bars, and words go through `notes`.
    pub fn speak_through(&self, notes: Notes) {
        // Told twice, the first one stays.
        let _ = self.notes.set(notes);
    }

    fn say(&self, text: &str) {
        match (self.notes.get(), &self.bars) {
            (Some(notes), _) => notes.say(text),
            (None, Some(bars)) => bars.suspend(|| self.printer.note(text)),
            (None, None) => self.printer.note(text),
        }
    }

    fn begin(&self, image: &str, pull: &mut Pull) {
        pull.begun = true;
        let bars = self.bars.as_ref().filter(|_| self.notes.get().is_none());
        let Some(bars) = bars else {
            let layers = if pull.missing == 1 { "layer" } else { "layers" };
            self.say(&format!(
                "fetching {image}: {} {layers}, {}",
                pull.missing,
                size(pull.bytes)
            ));
            return;
        };
        let bar = bars.add(ProgressBar::new(pull.bytes));
        // The template is a constant; where it were wrong the plain style would do.
        if let Ok(style) = ProgressStyle::with_template(
            "{spinner} {prefix} {bar:24} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg}",
        ) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(image.to_owned());
        bar.enable_steady_tick(TICK);
        pull.bar = Some(bar);
    }
}

impl Progress for Pulls {
    fn progress(&self, image: &str, progress: &ImageProgress) {
        if let ImageProgress::Notice(text) = progress {
            self.say(&format!("{image}: {text}"));
            return;
        }
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let pull = images.entry(image.to_owned()).or_default();
        match progress {
            ImageProgress::Resolved {
                digest,
                missing,
                bytes,
                ..
            } => {
                pull.digest.clone_from(digest);
                (pull.missing, pull.bytes) = (*missing, *bytes);
                // Several steps may want it at once.
                if *missing > 0 && !pull.begun {
                    self.begin(image, pull);
                }
            }
            ImageProgress::Downloading { layer, done, .. } => {
                pull.layers.insert(*layer, *done);
                pull.draw("");
            }
            ImageProgress::Unpacking { .. } => pull.draw("unpacking"),
            ImageProgress::LayerDone { .. } => {
                pull.done += 1;
                pull.draw("");
            }
            ImageProgress::Done => {
                if let Some(pull) = images.remove(image)
                    && pull.begun
                {
                    if let Some(bar) = pull.bar {
                        bar.finish_and_clear();
                    }
                    self.say(&format!("fetched {image}: {}", pull.digest));
                }
            }
            _ => {}
        }
    }
}

impl Pull {
    fn draw(&self, what: &'static str) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.layers.values().sum());
            if what.is_empty() {
                bar.set_message(format!("{} of {} layers", self.done, self.missing));
            } else {
                bar.set_message(what);
            }
        }
    }
}
