//! What a server of one's own takes: a server process, agents and watchers over loopback, beside a floor that is measured
//! in the same run.
//!
//! `cargo bench -p hm --bench cloud [BUILDS] [ANOTHER-HM]`. Nothing else should run on the machine: clients and server share it.
//!
//! ```text
//! place      a server process and agents, in a directory that goes with them
//! floor      what loopback and HTTP cost without any of our work
//! accepting  builds that are submitted
//! telling    events from an agent to the log
//! delay      from a step's line to a watcher's
//! crowd      memory with a thousand watchers
//! ```
#![expect(clippy::print_stdout, reason = "a benchmark tells its numbers")]

mod accepting;
mod crowd;
mod delay;
mod floor;
mod place;
mod telling;

use std::error::Error;
use std::time::Duration;

use place::Place;

fn main() -> Result<(), Box<dyn Error>> {
    let builds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(2_000);
    // As many open files as this process will need; the server sees to its own.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let place = Place::start()?;
    runtime.block_on(async {
        place.create_pipeline().await?;
        floor::measure(&place).await?;
        accepting::measure(&place, builds).await?;
        telling::measure(&place).await?;
        delay::measure(&place).await?;
        crowd::measure(&place).await
    })?;
    place.end()
}

/// The line of one figure.
fn tell(what: &str, figure: &str) {
    println!("{what:58} {figure}");
}

/// Median and 99th percentile.
fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| {
        let time = times.get(times.len().saturating_sub(1) * percent / 100);
        time.copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    format!(
        "{:9.3} ms median, {:9.3} ms 99th percentile, of {}",
        at(50),
        at(99),
        times.len()
    )
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
