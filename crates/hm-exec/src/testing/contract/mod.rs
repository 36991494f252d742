//! The contract of [`crate::ExecutionBackend`]: what every backend must do with a build, as test cases that run
//! real `sh` commands. What a backend says that it cannot honour is not asked of it.
//!
//! A case panics when the contract is broken. It waits for events and never measures time; [`PATIENCE`] only
//! keeps a broken implementation from hanging the tests.

mod builds;
mod endings;
mod given;
mod needs;
mod output;
mod subject;

use std::future::Future;
use std::pin::Pin;

pub use builds::*;
pub use endings::*;
pub use given::*;
pub use needs::*;
pub use output::*;
pub use subject::Subject;

/// How long a case may take before it counts as hanging.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// A case of the contract.
pub type Case = for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every case with its name.
        pub const CASES: &[(&str, Case)] = &[$((stringify!($name), |subject| Box::pin($name(subject)))),*];
    };
}

cases![
    a_build_passes_and_its_first_events_tell_the_plan,
    a_child_starts_from_its_parents_snapshot,
    the_runs_variables_win_over_the_plans,
    a_step_sees_the_worktree,
    a_cached_step_is_a_hit_the_second_time,
    a_failed_step_fails_the_build_and_skips_what_comes_after,
    keep_going_runs_what_does_not_come_after,
    a_steps_timeout_fails_the_build,
    the_builds_timeout_ends_it,
    cancellation_ends_the_build,
    a_dropped_stream_does_not_hang_the_build,
    an_image_that_is_not_there_is_refused_at_the_start,
    every_line_arrives_in_order,
    lines_keep_their_bytes,
    a_long_line_comes_in_pieces,
    a_service_runs_beside_its_step,
    a_chains_service_runs_beside_all_its_steps,
    a_service_that_cannot_be_used_fails_its_step,
    a_cached_step_starts_no_service,
    a_cache_directory_outlives_the_build,
    a_secret_is_given_and_masked,
    artifacts_are_told_and_told_again,
];

/// Runs every case, each on a subject of its own.
///
/// # Panics
/// When the contract is broken; the panic's message begins with the case's name where it hangs.
pub async fn run_all(mut subject: impl AsyncFnMut() -> Subject) {
    for (name, case) in CASES {
        let subject = subject().await;
        run(name, *case, &subject).await;
    }
}

/// Runs one case.
///
/// # Panics
/// When the contract is broken.
pub async fn run(name: &str, case: Case, subject: &Subject) {
    let ended = tokio::time::timeout(PATIENCE, case(subject)).await;
    assert!(ended.is_ok(), "{name}: it hangs");
}
