//! `[RUN/]STEP[@before|@after]`: how every command names a step of a past run.

use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::record::{FinishedSteps, Run};
use crate::suggest;

/// Before or after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// What it started from.
    Before,
    /// What it left.
    After,
}

/// A run that was named, and the rest of the address.
#[derive(Debug)]
pub struct Named {
    /// The run.
    pub run: Run,
    /// The step in it, as it was written.
    pub step: Option<String>,
}

/// Finds what an address names that may be a run, a step of the newest run here, or both; the newest run without one.
///
/// # Errors
/// When there is no such run, or the records cannot be read.
pub fn run_or_step(context: &Context, address: Option<&str>) -> Result<Named> {
    let Some(address) = address else {
        let run = context.runs()?.find(None, context.maybe_root())?;
        return Ok(Named { run, step: None });
    };
    if with_run(address).is_some() {
        return step(context, address);
    }
    match context.runs()?.find(Some(address), None) {
        Ok(run) => Ok(Named { run, step: None }),
        Err(no_run) => {
            let Ok(named) = step(context, address) else {
                return Err(no_run);
            };
            let steps = FinishedSteps::of(named.run.events(false)?);
            match known_step(&named.run, &steps, address) {
                Ok(_) => Ok(named),
                Err(_) => Err(no_run),
            }
        }
    }
}

/// Finds what an address names that is a step.
///
/// # Errors
/// When there is no such run, or the records cannot be read.
pub fn step(context: &Context, address: &str) -> Result<Named> {
    let store = context.runs()?;
    let (run, step) = match with_run(address) {
        Some((run, step)) => (store.find(Some(run), None)?, step),
        None => (store.find(None, context.maybe_root())?, address),
    };
    Ok(Named {
        run,
        step: Some(step.to_owned()),
    })
}

/// The key and the moment that `STEP[@before|@after]` names in a run.
///
/// # Errors
/// When the run has no such step.
pub fn known_step(run: &Run, steps: &FinishedSteps, written: &str) -> Result<(String, Moment)> {
    let (key, moment) = match (written.strip_suffix("@before"), written.strip_suffix("@after")) {
        // A step's key may end like a moment, too.
        _ if steps.keys.iter().any(|known| known == written) => (written, Moment::After),
        (Some(rest), _) => (rest, Moment::Before),
        (None, Some(rest)) => (rest, Moment::After),
        (None, None) => (written, Moment::After),
    };
    if steps.keys.iter().any(|known| known == key) {
        return Ok((key.to_owned(), moment));
    }
    let near = suggest::nearest(key, steps.keys.iter().map(String::as_str));
    let hint = near.map_or_else(
        || format!("its steps: {}", steps.keys.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Err(Failure::usage(
        format!("run {} has no step `{key}`", run.short_id()),
        [hint],
    ))
}

/// The key of the step that an address or `--step` names in a run, where one of them does.
///
/// # Errors
/// When the run has no such step, or its record cannot be read.
pub fn key(run: &Run, written: Option<&str>) -> Result<Option<String>> {
    let Some(written) = written else { return Ok(None) };
    let steps = FinishedSteps::of(run.events(false)?);
    Ok(Some(known_step(run, &steps, written)?.0))
}

/// A step's key may hold a slash itself, so what stands before it is a run only if it looks like one.
fn with_run(address: &str) -> Option<(&str, &str)> {
    address
        .split_once('/')
        .filter(|(run, _)| run.len() >= 4 && run.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_run_is_one() {
        assert_eq!(
            with_run("60a1d918/test@before"),
            Some(("60a1d918", "test@before"))
        );
        assert_eq!(with_run("60a1d918/web/test"), Some(("60a1d918", "web/test")));
        for address in ["test", "web/test", "abc/test", "60a1d918"] {
            assert_eq!(with_run(address), None, "{address}");
        }
    }
}
