//! A service's health check: tried in its machine until it passes.

use std::time::Duration;

use hm_pipeline_ir::{HealthCheck, Shell};
use hm_vm::{Cancel, ExecOutcome, ExecRequest, OutputChunk, Vm, VmError};
use tokio::sync::mpsc;

use super::super::command;

/// The most bytes of a check's last words.
const WORDS: usize = 240;

/// How a health check came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It passed.
    Passed,
    /// It did not pass in time; how the last try ended, in words.
    Late(Option<String>),
    /// It was stopped before either.
    Stopped,
}

/// Tries the check in `vm` as `service` runs there, until it passes, its time is up, or `stop` is canceled.
pub(super) async fn check(
    vm: &dyn Vm,
    service: &ExecRequest,
    shell: Option<&Shell>,
    health: &HealthCheck,
    stop: &Cancel,
) -> Result<Health, VmError> {
    let mut request = service.clone();
    request.argv = command::argv(shell, &health.cmd);
    request.grace = Duration::ZERO;
    let kill = stop.child();
    let mut last = None;
    let late = {
        let tries = tries(vm, &request, health.interval, &kill, &mut last);
        tokio::pin!(tries);
        tokio::select! {
            biased;
            passed = &mut tries => return Ok(if passed? { Health::Passed } else { Health::Stopped }),
            () = tokio::time::sleep(health.timeout) => {
                kill.kill();
                !tries.await?
            }
        }
    };
    Ok(match late {
        true if stop.is_terminated() => Health::Stopped,
        true => Health::Late(last),
        false => Health::Passed,
    })
}

/// Tries until one passes (true) or `kill` is canceled.
async fn tries(
    vm: &dyn Vm,
    request: &ExecRequest,
    interval: Duration,
    kill: &Cancel,
    last: &mut Option<String>,
) -> Result<bool, VmError> {
    loop {
        let (sender, chunks) = mpsc::channel(super::log::CHUNKS);
        let (outcome, words) = tokio::join!(vm.exec(request, sender, kill.clone()), tail(chunks));
        let outcome = outcome?;
        if outcome.killed.is_none() && outcome.status.code() == 0 {
            return Ok(true);
        }
        if kill.is_terminated() {
            last.get_or_insert_with(|| "it did not end".to_owned());
            return Ok(false);
        }
        *last = Some(told(&outcome, &words));
        let waited = kill.run_until_terminated(tokio::time::sleep(interval)).await;
        if waited.is_none() {
            return Ok(false);
        }
    }
}

fn told(outcome: &ExecOutcome, words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    let code = outcome.status.code();
    line.map_or_else(
        || format!("exit code {code}"),
        |line| format!("exit code {code}: {line}"),
    )
}

/// The end of what a check writes.
async fn tail(mut chunks: mpsc::Receiver<OutputChunk>) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        kept.extend_from_slice(&chunk.bytes);
        let surplus = kept.len().saturating_sub(WORDS);
        kept.drain(..surplus);
    }
    kept
}
