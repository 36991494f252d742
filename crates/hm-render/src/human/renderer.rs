use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use hm_plugin_protocol::events::{BuildEvent, StdStream};
use uuid::Uuid;

use super::live::LiveArea;
use super::running::{self, View};
use crate::options::{Logs, Options, Screen};
use crate::renderer::Renderer;
use crate::report::{self, Block, Shown};
use crate::state::{BuildState, Phase, Step};
use crate::terminal::{Colors, Paint, Sign, Style, printable, safe};

/// How many bytes may wait for the next drawing.
const HELD: usize = 32 * 1024;

/// How many bytes of a line that goes on wait for its end: of a line that overwrites itself, only what was last on it is shown.
const LINE: usize = 16 * 1024;

/// A line that goes on.
struct Open {
    step_id: Uuid,
    /// The service, where it is one of the step's.
    service: Option<String>,
    stream: StdStream,
    text: String,
    /// Its beginning was shown.
    goes_on: bool,
}

/// For a person at a terminal. What is final scrolls; at the bottom, if there is a [`Screen`], each running step has a line with its
/// newest output.
///
/// A step's output cannot move the cursor, clear the screen or change the title: of its escapes only colors are kept, and those only where
/// the [`Style`] has colors.
pub struct Human<W> {
    out: W,
    style: Style,
    logs: Logs,
    quiet: bool,
    block: Block,
    screen: Option<Screen>,
    notes: Option<Receiver<String>>,
    clock: Box<dyn Fn() -> Duration + Send>,
    live: LiveArea,
    /// When each running step started, by the clock.
    started: HashMap<Uuid, Duration>,
    /// The lines that go on.
    open: Vec<Open>,
    shown: Shown,
    /// What scrolls with the next drawing.
    held: String,
}

impl<W: Write> Human<W> {
    /// Writes to `out`, each drawing in one write.
    pub fn new(out: W, options: Options) -> Self {
        let begin = Instant::now();
        Self::with_clock(out, options, Box::new(move || begin.elapsed()))
    }

    /// As [`Human::new`], with a clock of the caller's: the time since the build began.
    pub fn with_clock(out: W, options: Options, clock: Box<dyn Fn() -> Duration + Send>) -> Self {
        let by_default = if options.screen.is_some() {
            Logs::Failed
        } else {
            Logs::All
        };
        let logs = options.logs(by_default);
        Self {
            out,
            style: options.style,
            logs,
            quiet: options.quiet,
            block: Block {
                hints: options.hints,
                output: logs != Logs::None,
            },
            screen: if options.quiet { None } else { options.screen },
            notes: options.notes,
            clock,
            live: LiveArea::default(),
            started: HashMap::new(),
            open: Vec::new(),
            shown: Shown::default(),
            held: String::new(),
        }
    }

    fn say(&mut self, line: &str) {
        self.held.push_str(line);
        self.held.push('\n');
    }

    fn say_with(&mut self, sign: Sign, line: &str) {
        let line = format!("{} {line}", self.style.sign(sign));
        self.say(&line);
    }

    fn log(&mut self, step: &Step, service: Option<&str>, stream: StdStream, text: &str, partial: bool) {
        let of_line = |open: &Open| {
            (open.step_id, open.service.as_deref(), open.stream) == (step.step_id, service, stream)
        };
        let open = match self.open.iter().position(of_line) {
            Some(at) => Some(self.open.swap_remove(at)),
            None if partial => Some(Open {
                step_id: step.step_id,
                service: service.map(str::to_owned),
                stream,
                text: String::new(),
                goes_on: false,
            }),
            None => None,
        };
        let Some(mut open) = open else {
            self.line(step, service, text, false);
            return;
        };
        open.text.push_str(text);
        if partial && open.text.len() < LINE {
            self.open.push(open);
            return;
        }
        self.line(step, service, &open.text, open.goes_on);
        if partial {
            open.text.clear();
            open.goes_on = true;
            self.open.push(open);
        }
    }

    fn line(&mut self, step: &Step, service: Option<&str>, text: &str, goes_on: bool) {
        self.prefix(step, service, goes_on);
        let colors = if self.style.color {
            Colors::Keep
        } else {
            Colors::Drop
        };
        self.say(&safe(text, colors));
        self.shown.line();
    }

    /// Shows the lines that a step has left without an end.
    fn close_lines(&mut self, step: &Step) {
        let mut at = 0;
        while let Some(open) = self.open.get(at) {
            if open.step_id == step.step_id {
                let open = self.open.remove(at);
                if !open.text.is_empty() {
                    self.line(step, open.service.as_deref(), &open.text, open.goes_on);
                }
            } else {
                at += 1;
            }
        }
    }

    fn prefix(&mut self, step: &Step, service: Option<&str>, goes_on: bool) {
        let bar = match (goes_on, self.style.unicode) {
            (true, _) => "+",
            (false, true) => "│",
            (false, false) => "|",
        };
        let mut prefix = format!("{} ", report::one_line(&step.key));
        if let Some(service) = service {
            prefix.push_str(&format!("{} ", report::one_line(service)));
        }
        prefix.push_str(bar);
        let prefix = self.style.paint(Paint::Dim, prefix).to_string();
        self.held.push_str(&prefix);
        self.held.push(' ');
    }

    fn end(&mut self, step: &Step) {
        self.started.remove(&step.step_id);
        self.close_lines(step);
        if self.logs == Logs::All {
            self.shown.ended(step);
        }
        if self.quiet {
            return;
        }
        let line = report::ended(step, self.style, self.logs != Logs::All);
        self.say_with(report::ended_sign(step), &line);
        // No block at the end tells about a step that may fail, so its output stands here.
        if step.phase == Phase::SoftFailed && self.logs == Logs::Failed {
            for line in step.tail.lines() {
                self.log(step, None, StdStream::Stdout, line, false);
            }
            for output in &step.services {
                for line in output.tail.lines() {
                    self.log(step, Some(&output.service), StdStream::Stdout, line, false);
                }
            }
        }
    }

    fn draw(&mut self, state: &BuildState, live: bool) -> io::Result<()> {
        let Some(screen) = &self.screen else {
            self.out.write_all(self.held.as_bytes())?;
            self.held.clear();
            return self.out.flush();
        };
        let (columns, rows) = screen();
        // A terminal that does not know its size says 0.
        let columns = if columns == 0 { 80 } else { usize::from(columns) };
        let rows = if rows == 0 { 24 } else { usize::from(rows) };
        let mut frame = String::with_capacity(self.held.len() + 1024);
        self.live.erase(&mut frame, columns);
        frame.push_str(&self.held);
        self.held.clear();
        if live {
            let output = self.logs != Logs::None;
            let view = View {
                columns,
                rows,
                style: self.style,
                output,
                now: (self.clock)(),
            };
            let lines = running::lines(state, &self.started, view);
            self.live.draw(&mut frame, &lines);
        }
        self.out.write_all(frame.as_bytes())?;
        self.out.flush()
    }
}

impl<W> fmt::Debug for Human<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Human")
            .field("logs", &self.logs)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

impl<W: Write + Send> Renderer for Human<W> {
    fn event(&mut self, event: &BuildEvent, state: &BuildState) -> io::Result<()> {
        match event {
            BuildEvent::StepLog {
                step_id,
                stream,
                line,
                partial,
                service,
                ..
            } => {
                if let (Logs::All, Some(step)) = (self.logs, state.step(*step_id)) {
                    self.log(step, service.as_deref(), *stream, line, *partial);
                }
            }
            BuildEvent::StepStart {
                step_id,
                previous_exit_code: Some(exit_code),
                ..
            } => {
                if let (false, Some(step)) = (self.quiet, state.step(*step_id)) {
                    self.say_with(Sign::Warn, &report::retried(step, *exit_code, self.style));
                }
            }
            BuildEvent::StepStart { step_id, .. } => {
                self.started.insert(*step_id, (self.clock)());
                if let (Logs::All, Some(step)) = (self.logs, state.step(*step_id)) {
                    self.say_with(Sign::Start, &report::started(step, self.style));
                }
            }
            BuildEvent::StepEnd { step_id, .. } | BuildEvent::StepCacheHit { step_id, .. } => {
                if let Some(step) = state.step(*step_id) {
                    self.end(step);
                }
            }
            _ if self.quiet => {}
            BuildEvent::BuildStart { .. } => {
                for (at, line) in report::header(state).into_iter().enumerate() {
                    let paint = if at == 0 { Paint::Bold } else { Paint::Dim };
                    self.say(&self.style.paint(paint, line).to_string());
                }
            }
            BuildEvent::BuildAccepted {
                watch_url: Some(url), ..
            } => {
                self.say(&format!("watch it at {}", report::one_line(url)));
            }
            _ => {}
        }
        if self.held.len() >= HELD {
            self.draw(state, true)
        } else {
            Ok(())
        }
    }

    fn tick(&mut self, state: &BuildState) -> io::Result<()> {
        while let Some(note) = self.notes.as_ref().and_then(|notes| notes.try_recv().ok()) {
            self.say(&printable(&note));
        }
        if self.screen.is_none() && self.held.is_empty() {
            return Ok(());
        }
        // Before anything runs, and when all is over, there is nothing to watch.
        let live = state.running().len() > 0 && state.verdict().is_none();
        self.draw(state, live)
    }

    fn finish(&mut self, state: &BuildState) -> io::Result<()> {
        for line in report::failures(state, self.style, self.block, &self.shown) {
            self.say(&line);
        }
        if state.failed().len() > 0 {
            self.held.push('\n');
        }
        if !self.quiet {
            for line in report::artifacts(state, self.block.hints) {
                self.say(&line);
            }
        }
        self.say_with(report::verdict_sign(state), &report::verdict(state, self.style));
        self.draw(state, false)
    }
}
