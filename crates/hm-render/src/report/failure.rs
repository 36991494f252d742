use super::artifacts::tests;
use super::duration::duration;
use super::header::count;
use super::shown::Shown;
use super::step::{label, one_line};
use crate::run_id::short_run_id;
use crate::state::{BuildState, Phase, ServiceOutput, Step, Tail};
use crate::terminal::{Colors, Paint, Sign, Style, safe};

/// How many failed steps are told about in full; each of the others has one line.
const IN_FULL: usize = 5;

/// What a block about a failed step holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    /// The commands to go on with.
    pub(crate) hints: bool,
    /// The step's last output.
    pub(crate) output: bool,
}

/// What there is to know about each failed step, as lines: its command, its end, its failed tests, its last output and its services',
/// unless these were just shown, and what to do next.
pub(crate) fn failures(state: &BuildState, style: Style, block: Block, shown: &Shown) -> Vec<String> {
    let mut lines = Vec::new();
    for step in state.failed().take(IN_FULL) {
        in_full(step, state, style, block, shown.just_now(step), &mut lines);
    }
    let others = state.failed().len().saturating_sub(IN_FULL);
    if others > 0 {
        lines.push(String::new());
        lines.push(format!("{others} more failed:"));
        for step in state.failed().skip(IN_FULL) {
            let shell = if block.hints && !is_elsewhere(state) {
                format!("  {}", shell(step, state))
            } else {
                String::new()
            };
            lines.push(format!("{}{shell}", headline(step, style)));
        }
    }
    lines
}

fn in_full(
    step: &Step,
    state: &BuildState,
    style: Style,
    block: Block,
    is_shown: bool,
    lines: &mut Vec<String>,
) {
    lines.push(String::new());
    lines.push(headline(step, style));
    if let Some(command) = &step.command {
        let mut parts = command.trim_end().lines();
        lines.push(format!(
            "  command: {}",
            safe(parts.next().unwrap_or_default(), Colors::Drop)
        ));
        lines.extend(parts.map(|part| format!("           {}", safe(part, Colors::Drop))));
    }
    if let Some(message) = &step.message {
        lines.push(format!("  reason: {}", one_line(message)));
    }
    if let Some(said) = &step.tests {
        lines.push(format!("  {}", tests(said)));
        lines.extend(said.failures.iter().map(|name| format!("    {}", one_line(name))));
        let more = said.failed.saturating_sub(said.failures.len() as u64);
        if more > 0 && !said.failures.is_empty() {
            lines.push(format!("    and {more} more"));
        }
    }
    if block.output && is_shown && step.tail.seen() > 0 {
        let again = all_of_it(step, state, block.hints);
        lines.push(format!(
            "  output: {} above{}",
            count(step.tail.seen(), "line"),
            again.map(|again| format!("; {again}")).unwrap_or_default()
        ));
    } else if block.output {
        output(step, state, style, block.hints, lines);
        services(step, style, lines);
    }
    if block.hints {
        let (where_it_is, shell) = match is_elsewhere(state) {
            true => (
                "  what it left is on its agent; for a shell where it fails, run it here:",
                run_here(step, state),
            ),
            false if step.snapshot.is_some() => ("  a shell where it failed:", shell(step, state)),
            false => (
                "  nothing of it could be kept; a shell where it began:",
                shell(step, state),
            ),
        };
        lines.push(where_it_is.to_owned());
        lines.push(format!("    {}", style.paint(Paint::Bold, shell)));
        lines.push("  run it again from there:".to_owned());
        lines.push(format!("    {}", style.paint(Paint::Bold, rerun(step))));
    }
}

fn output(step: &Step, state: &BuildState, style: Style, hints: bool, lines: &mut Vec<String>) {
    let kept = step.tail.lines().len();
    match (kept as u64, step.tail.seen()) {
        (_, 0) => lines.push("  it printed nothing".to_owned()),
        (kept, seen) if kept == seen => lines.push("  output:".to_owned()),
        (kept, seen) => {
            let rest = all_of_it(step, state, hints)
                .map(|again| format!(" (all: {again})"))
                .unwrap_or_default();
            lines.push(format!("  last {kept} of {seen} lines of output{rest}:"));
        }
    }
    lines.extend(quoted_output(&step.tail, style));
}

/// The command that shows all output of a step.
fn all_of_it(step: &Step, state: &BuildState, hints: bool) -> Option<String> {
    let run_id = state.run_id().filter(|_| hints)?;
    let address = format!("{}/{}", short_run_id(run_id), step.key);
    Some(format!("hm logs {}", quoted(&address)))
}

fn services(step: &Step, style: Style, lines: &mut Vec<String>) {
    for ServiceOutput { service, tail, .. } in &step.services {
        let service = one_line(service);
        let (kept, seen) = (tail.lines().len() as u64, tail.seen());
        lines.push(if kept == seen {
            format!("  service {service}:")
        } else {
            format!("  last {kept} of {seen} lines of service {service}:")
        });
        lines.extend(quoted_output(tail, style));
    }
}

fn quoted_output(tail: &Tail, style: Style) -> impl Iterator<Item = String> {
    let bar = if style.unicode { "│" } else { "|" };
    let bar = style.paint(Paint::Dim, bar).to_string();
    let colors = if style.color { Colors::Keep } else { Colors::Drop };
    tail.lines()
        .map(move |line| format!("  {bar} {}", safe(line, colors)).trim_end().to_owned())
}

fn headline(step: &Step, style: Style) -> String {
    let how = match step.phase {
        Phase::TimedOut => "timed out".to_owned(),
        _ => format!("failed with exit code {}", step.exit_code.unwrap_or_default()),
    };
    let after = step
        .duration_ms
        .map(|ms| format!(" after {}", duration(ms)))
        .unwrap_or_default();
    format!("{} {} {how}{after}", style.sign(Sign::Bad), label(step, style))
}

fn shell(step: &Step, state: &BuildState) -> String {
    let run = state
        .run_id()
        .map(|run_id| format!("{}/", short_run_id(run_id)))
        .unwrap_or_default();
    let side = if step.snapshot.is_some() { "" } else { "@before" };
    format!("hm shell {}", quoted(&format!("{run}{}{side}", step.key)))
}

/// Whether the build was a server's, whose agents keep what its steps left.
fn is_elsewhere(state: &BuildState) -> bool {
    state.build().is_some_and(|build| build.number.is_some())
}

fn run_here(step: &Step, state: &BuildState) -> String {
    let pipeline = state.header().pipeline.as_deref();
    let pipeline = pipeline.map(|slug| format!(" {}", quoted(slug)));
    let pipeline = pipeline.unwrap_or_default();
    format!("hm run{pipeline}; hm shell {}", quoted(&step.key))
}

fn rerun(step: &Step) -> String {
    // A key that looks like a flag must not be read as one.
    let joint = if step.key.starts_with('-') { '=' } else { ' ' };
    format!("hm rerun --from{joint}{}", quoted(&step.key))
}

/// A word as a shell reads it back. A NUL cannot stand in a command line at all, and no key that runs has one.
fn quoted(word: &str) -> String {
    let word = one_line(word).replace('\0', "");
    shlex::try_quote(&word).map_or_else(|_| word.clone(), std::borrow::Cow::into_owned)
}
