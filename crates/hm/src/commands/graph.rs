//! `hm graph`: the DAG in the terminal. What builds in what is a tree; what merely waits is said in words.

use hm_exec::Plan;
use hm_pipeline_ir::{PipelineGraph, Step, StepIndex};

use super::table;
use crate::cli::PipelineArgs;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};
use crate::{pipelines, show};

/// The longest line where there is no terminal.
const LONGEST: usize = 100;

/// The pieces that a tree is drawn with.
struct Pieces {
    branch: &'static str,
    last: &'static str,
    line: &'static str,
    gap: &'static str,
    down: &'static str,
}

const UNICODE: Pieces = Pieces {
    branch: "├── ",
    last: "└── ",
    line: "│   ",
    gap: "    ",
    down: "↓ ",
};

const ASCII: Pieces = Pieces {
    branch: "|-- ",
    last: "`-- ",
    line: "|   ",
    gap: "    ",
    down: "v ",
};

/// Draws a pipeline's steps.
///
/// # Errors
/// When it does not render, or the output cannot be written.
pub fn graph(context: &Context, args: &PipelineArgs) -> Result<u8> {
    let env = pipelines::variables(context, args)?;
    let source = pipelines::source(context.maybe_root(), args);
    let chosen = pipelines::choose(context, args, &source, &env)?;
    let pieces = if context.environment.unicode() {
        &UNICODE
    } else {
        &ASCII
    };
    let width = if context.environment.stdout_tty {
        usize::from(show::terminal_size().0)
    } else {
        LONGEST
    };
    let more = if context.environment.unicode() {
        "…"
    } else {
        "..."
    };
    let drawn: Vec<String> = draw(&chosen.plan.graph, pieces)
        .lines()
        .map(|line| cut(line, width, more) + "\n")
        .collect();
    let text = format!(
        "{}: {}, {}\n{}",
        chosen.slug,
        counted(chosen.plan.graph.len(), "step"),
        counted(chosen.plan.graph.chain_count(), "chain"),
        drawn.concat()
    );
    context.printer.data(&text).map_err(Failure::Output)?;
    Ok(exit::PASSED)
}

/// A line that fits, or its beginning and a mark.
fn cut(line: &str, width: usize, more: &str) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let kept: String = line
        .chars()
        .take(width.saturating_sub(more.chars().count()))
        .collect();
    kept.trim_end().to_owned() + more
}

/// The keys of a plan's steps, in order.
pub(super) fn keys(plan: &Plan) -> Vec<&str> {
    plan.graph.steps().map(|(_, step)| step.key.as_str()).collect()
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

/// One line of the drawing that is still to come: the step, what stands before it, what stands before its
/// children.
struct Open {
    index: StepIndex,
    lead: String,
    below: String,
}

fn draw(graph: &PipelineGraph, pieces: &Pieces) -> String {
    let roots = graph
        .steps()
        .map(|(index, _)| index)
        .filter(|index| graph.parent(*index).is_none());
    let open = |index| Open {
        index,
        lead: String::new(),
        below: String::new(),
    };
    let mut rest: Vec<Open> = roots.map(open).collect();
    rest.reverse();
    let mut rows = Vec::with_capacity(graph.len());
    // A stack of our own: a plan may be a chain of many thousand steps.
    while let Some(Open { index, lead, below }) = rest.pop() {
        rows.push(row(graph, index, &lead));
        let children = graph.children(index);
        for (place, child) in children.iter().enumerate().rev() {
            let last = place + 1 == children.len();
            // A chain is drawn straight down, or a long one would run off the screen.
            let (mark, indent) = match (children.len(), last) {
                (1, _) => (pieces.down, ""),
                (_, true) => (pieces.last, pieces.gap),
                (_, false) => (pieces.branch, pieces.line),
            };
            rest.push(Open {
                index: *child,
                lead: format!("{below}{mark}"),
                below: format!("{below}{indent}"),
            });
        }
    }
    table::columns(&rows)
}

fn row(graph: &PipelineGraph, index: StepIndex, lead: &str) -> Vec<String> {
    let step = graph.step(index);
    let mut words = Vec::new();
    if graph.parent(index).is_none()
        && let Some(image) = step.image.as_deref().or_else(|| graph.default_image())
    {
        words.push(format!("from {image}"));
    }
    let waits: Vec<&str> = graph
        .dependencies(index)
        .iter()
        .filter(|dependency| Some(**dependency) != graph.parent(index))
        .map(|dependency| graph.step(*dependency).key.as_str())
        .collect();
    if !waits.is_empty() {
        words.push(format!("after {}", waits.join(", ")));
    }
    if step.cache.is_cacheable() {
        words.push(format!("cache {}", step.cache.name()));
    }
    vec![format!("{lead}{}", step.key), words.join("; "), what(step)]
}

/// What a step is about: its label, or its command where the label says no more than the key.
fn what(step: &Step) -> String {
    let name = step.display_name();
    if name != step.key.as_str() {
        return name;
    }
    let first = step.cmd.lines().next().unwrap_or_default();
    first.chars().filter(|c| !c.is_control()).collect()
}
