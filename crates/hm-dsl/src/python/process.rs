//! One run of Python.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::DslError;

/// How long an author's files may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
/// How many bytes of plans are read.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
/// How many bytes of the author's own output are kept.
const MAX_PRINTED: u64 = 1024 * 1024;

/// What Python is started with.
pub(crate) struct Call<'a> {
    /// Which Python.
    pub(crate) python: &'a Path,
    /// Our package.
    pub(crate) package: &'a Path,
    /// The repository.
    pub(crate) root: &'a Path,
    /// The files to run.
    pub(crate) files: &'a [PathBuf],
    /// The environment.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Seconds since 1970.
    pub(crate) now: u64,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// Runs Python, and returns the document that it wrote and what the author's files printed.
///
/// Standard output is closed by our package as soon as the answer is through, so a process that the author
/// left behind cannot hold it open.
pub(crate) fn ask(call: &Call<'_>) -> Result<(Vec<u8>, String), DslError> {
    let mut child = start(call)?;
    let (send, received) = mpsc::channel();
    let out = child.stdout.take();
    let err = child.stderr.take();
    thread::spawn(move || send.send(read_up_to(out, MAX_ANSWER + 1)).is_ok());
    let (send, printed) = mpsc::channel();
    thread::spawn(move || send.send(read_up_to(err, MAX_PRINTED)).is_ok());

    let answer = match received.recv_timeout(call.limit) {
        Ok(answer) => answer.map_err(DslError::io("read the answer of", call.python)),
        Err(RecvTimeoutError::Timeout) => Err(DslError::TimedOut { after: call.limit }),
        Err(RecvTimeoutError::Disconnected) => Ok(Vec::new()),
    };
    let answer = match answer {
        Ok(answer) if answer.len() as u64 > MAX_ANSWER => Err(DslError::TooLarge { limit: MAX_ANSWER }),
        other => other,
    };
    let status = end(&mut child, answer.is_ok());
    let answer = answer?;
    let status = status.map_err(DslError::io("wait for", call.python))?;
    let printed = printed
        .recv_timeout(Duration::from_millis(500))
        .ok()
        .and_then(Result::ok)
        .unwrap_or_default();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    if answer.is_empty() {
        return Err(DslError::Died {
            python: call.python.to_owned(),
            status: status.to_string(),
            stderr: tail(&printed, 20),
        });
    }
    Ok((answer, printed))
}

fn start(call: &Call<'_>) -> Result<Child, DslError> {
    Command::new(call.python)
        .args(["-E", "-s", "-S", "-B", "-X", "utf8"])
        .arg(call.package.join("boot.py"))
        .arg(call.root)
        .arg(call.now.to_string())
        .args(call.files)
        .current_dir(call.root)
        .env_clear()
        .envs(call.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(DslError::io("start", call.python))
}

/// Waits for a process that is about to end by itself; kills one that is not.
fn end(child: &mut Child, by_itself: bool) -> io::Result<ExitStatus> {
    let until = Instant::now() + Duration::from_secs(5);
    while by_itself && Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(Duration::from_micros(200));
    }
    child.kill()?;
    child.wait()
}

/// Reads up to `limit` bytes to keep, and lets the rest of it go by.
fn read_up_to(from: Option<impl Read>, limit: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut from) = from {
        from.by_ref().take(limit).read_to_end(&mut kept)?;
        if limit == MAX_PRINTED {
            io::copy(&mut from, &mut io::sink())?;
        }
    }
    Ok(kept)
}

/// The last `lines` of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::{candidates, unpack};

    #[test]
    fn files_that_never_end_are_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let endless = dir.path().join("endless.py");
        std::fs::write(
            &endless,
            "import os\nprint(os.getpid(), flush=True)\nwhile True: pass\n",
        )
        .unwrap();
        let path = std::env::var("PATH").unwrap();
        let call = Call {
            python: &candidates(Some(&path))[0],
            package: &unpack(&dir.path().join("plans")).unwrap(),
            root: dir.path(),
            files: &[endless],
            env: &BTreeMap::new(),
            now: 0,
            limit: Duration::from_millis(300),
        };
        let error = ask(&call).unwrap_err();
        assert!(
            matches!(error, DslError::TimedOut { after } if after == call.limit),
            "{error}"
        );
    }
}
