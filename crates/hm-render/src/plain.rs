use std::io::{self, BufWriter, Write};

use hm_plugin_protocol::events::{BuildEvent, StdStream};
use uuid::Uuid;

use crate::options::{Logs, Options};
use crate::renderer::Renderer;
use crate::report::{self, Block, Shown};
use crate::state::{BuildState, Phase, Step};
use crate::terminal::{Colors, Style, leaves_color, safe};

const BUFFER: usize = 64 * 1024;

/// For pipes and logs. A line of output is `[key] line`, as the step wrote it, or `[key] service | line`; a line of ours begins with
/// `hm: `, and the block about a failed step, at the end, is indented.
///
/// A piece of a line is written as it comes. When another line has to be written before it goes on, it is cut visibly: it ends with
/// ` \`, and goes on behind `[key]+ `. So nothing is held in memory and no byte is lost. Colors that a line leaves behind end with it.
///
/// On a terminal a step's output is shown as [`crate::Human`] shows it: only its colors are kept, and a line that overwrites itself does so
/// behind its key.
#[derive(Debug)]
pub struct Plain<W: Write> {
    out: BufWriter<W>,
    logs: Logs,
    quiet: bool,
    block: Block,
    style: Style,
    /// Whose line the cursor is on.
    here: Option<Place>,
    /// Whose lines were cut.
    cut: Vec<Place>,
    /// What becomes of a step's colors where a terminal is written to.
    terminal: Option<Colors>,
    /// The line goes on in a color of the step's.
    colored: bool,
    shown: Shown,
}

/// What a line comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    step_id: Uuid,
    /// The service, where it is one of the step's.
    service: Option<String>,
    stream: StdStream,
}

impl Place {
    fn stdout(step: &Step, service: Option<&str>) -> Self {
        Self {
            step_id: step.step_id,
            service: service.map(str::to_owned),
            stream: StdStream::Stdout,
        }
    }
}

impl<W: Write> Plain<W> {
    /// Writes to `out`, through a buffer of its own.
    pub fn new(out: W, options: Options) -> Self {
        let logs = options.logs(Logs::All);
        Self {
            out: BufWriter::with_capacity(BUFFER, out),
            logs,
            quiet: options.quiet,
            block: Block {
                hints: options.hints,
                output: logs != Logs::None,
            },
            style: Style {
                color: false,
                ..options.style
            },
            here: None,
            cut: Vec::new(),
            terminal: options.terminal.then_some(if options.style.color {
                Colors::Keep
            } else {
                Colors::Drop
            }),
            colored: false,
            shown: Shown::default(),
        }
    }

    fn log(&mut self, step: &Step, place: Place, text: &str, partial: bool) -> io::Result<()> {
        if self.here.as_ref() == Some(&place) {
            // On a terminal the new state of a line stands in place of the one before.
            if self.terminal.is_some() && text.trim_end_matches('\r').contains('\r') {
                self.out.write_all(b"\r\x1b[K")?;
                self.prefix(step, &place, false)?;
            }
        } else {
            self.leave_line()?;
            let cut = self.cut.iter().position(|cut| *cut == place);
            self.prefix(step, &place, cut.is_some())?;
            if let Some(at) = cut {
                self.cut.swap_remove(at);
            }
        }
        // A backend should send lines, but what it sends must not pass for another step's output, or for ours.
        let mut parts = text.split('\n');
        self.text(parts.next().unwrap_or_default())?;
        for part in parts {
            self.end_line("")?;
            self.prefix(step, &place, false)?;
            self.text(part)?;
        }
        self.here = partial.then_some(place);
        if partial { Ok(()) } else { self.end_line("") }
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        if let Some(colors) = self.terminal {
            return self.out.write_all(safe(text, colors).as_bytes());
        }
        self.colored = leaves_color(text) || (self.colored && !text.contains('\x1b'));
        self.out.write_all(text.as_bytes())
    }

    fn end_line(&mut self, mark: &str) -> io::Result<()> {
        self.shown.line();
        if std::mem::take(&mut self.colored) {
            self.out.write_all(b"\x1b[0m")?;
        }
        writeln!(self.out, "{mark}")
    }

    fn prefix(&mut self, step: &Step, place: &Place, goes_on: bool) -> io::Result<()> {
        self.out.write_all(b"[")?;
        self.out.write_all(report::one_line(&step.key).as_bytes())?;
        self.out.write_all(if goes_on { b"]+ " } else { b"] " })?;
        match &place.service {
            Some(service) => write!(self.out, "{} | ", report::one_line(service)),
            None => Ok(()),
        }
    }

    fn leave_line(&mut self) -> io::Result<()> {
        let Some(place) = self.here.take() else {
            return Ok(());
        };
        self.cut.push(place);
        self.end_line(" \\")
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.leave_line()?;
        writeln!(self.out, "hm: {line}")
    }

    fn say_ended(&mut self, step: &Step) -> io::Result<()> {
        // A step that has ended has no line to go on with, even where its last piece said so.
        if self
            .here
            .as_ref()
            .is_some_and(|here| here.step_id == step.step_id)
        {
            self.here = None;
            self.end_line("")?;
        }
        if self.logs == Logs::All {
            self.shown.ended(step);
        }
        self.cut.retain(|cut| cut.step_id != step.step_id);
        if self.quiet {
            return Ok(());
        }
        self.say(&report::ended(step, self.style, false))?;
        // No block at the end tells about a step that may fail, so its output stands here.
        if step.phase == Phase::SoftFailed && self.logs == Logs::Failed {
            for line in step.tail.lines() {
                self.log(step, Place::stdout(step, None), line, false)?;
            }
            for output in &step.services {
                for line in output.tail.lines() {
                    self.log(step, Place::stdout(step, Some(&output.service)), line, false)?;
                }
            }
        }
        Ok(())
    }
}

impl<W: Write + Send> Renderer for Plain<W> {
    fn event(&mut self, event: &BuildEvent, state: &BuildState) -> io::Result<()> {
        match event {
            BuildEvent::StepLog {
                step_id,
                stream,
                line,
                partial,
                service,
                ..
            } => match state.step(*step_id) {
                Some(step) if self.logs == Logs::All => {
                    let place = Place {
                        step_id: *step_id,
                        service: service.clone(),
                        stream: *stream,
                    };
                    self.log(step, place, line, *partial)
                }
                _ => Ok(()),
            },
            BuildEvent::StepEnd { step_id, .. } | BuildEvent::StepCacheHit { step_id, .. } => {
                state.step(*step_id).map_or(Ok(()), |step| self.say_ended(step))
            }
            _ if self.quiet => Ok(()),
            BuildEvent::BuildStart { .. } => report::header(state).iter().try_for_each(|line| self.say(line)),
            BuildEvent::BuildAccepted {
                watch_url: Some(url), ..
            } => self.say(&format!("watch it at {}", report::one_line(url))),
            BuildEvent::StepStart {
                step_id,
                previous_exit_code,
                ..
            } => {
                let Some(step) = state.step(*step_id) else {
                    return Ok(());
                };
                self.say(&match previous_exit_code {
                    None => report::started(step, self.style),
                    Some(exit_code) => report::retried(step, *exit_code, self.style),
                })
            }
            _ => Ok(()),
        }
    }

    fn tick(&mut self, _state: &BuildState) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(&mut self, state: &BuildState) -> io::Result<()> {
        self.leave_line()?;
        for line in report::failures(state, self.style, self.block, &self.shown) {
            writeln!(self.out, "{line}")?;
        }
        if state.failed().len() > 0 {
            self.out.write_all(b"\n")?;
        }
        if !self.quiet {
            for line in report::artifacts(state, self.block.hints) {
                self.say(&line)?;
            }
        }
        let verdict = report::verdict(state, self.style);
        self.say(&verdict)?;
        self.out.flush()
    }
}
