//! How many files this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::printer::Printer;

/// More than any server here will need; some systems take no larger number.
const MOST: u64 = 1 << 16;
/// Below this a busy team's watchers may be turned away.
const FEW: u64 = 4096;

/// Raises the limit as far as the system lets this user, and says so where that is not far: each watcher, agent and
/// build has one open, and the limit that shells give is meant for programs that cannot count beyond it. Not for a
/// process that starts others: they begin with the limit that it has.
pub(super) fn raise(printer: Printer) {
    let given = getrlimit(Resource::Nofile);
    let Some(now) = given.current else { return };
    let wanted = given.maximum.unwrap_or(MOST).min(MOST);
    let limit = Rlimit {
        current: Some(wanted),
        maximum: given.maximum,
    };
    let (open, reason) = match (now < wanted).then(|| setrlimit(Resource::Nofile, limit)) {
        None => (now, String::new()),
        Some(Ok(())) => (wanted, String::new()),
        Some(Err(error)) => (now, format!(" ({error})")),
    };
    if open < FEW {
        printer.warning(&format!(
            "this process may have {open} files open at once, and that cannot be raised{reason}: it serves about as many \
             watchers and agents; raise its hard limit (`ulimit -Hn`, systemd's LimitNOFILE)"
        ));
    }
}
