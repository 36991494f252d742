//! The contract of [`crate::VmBackend`]: what any implementation must do, as test cases that run real `sh`
//! commands. [`run_all`] runs them one after the other; each is also a function of its own.
//!
//! What a backend cannot do by its [`crate::VmBackend::features`] is not asked of it.
//!
//! A case panics when the contract is broken. It waits for events and never measures time; [`PATIENCE`] only
//! keeps a broken implementation from hanging the tests.

mod caches;
mod commands;
mod endings;
mod exports;
mod limits;
mod pods;
mod secrets;
mod snapshots;
mod sources;
mod subject;
mod users;

use std::future::Future;
use std::pin::Pin;

pub use caches::*;
pub use commands::*;
pub use endings::*;
pub use exports::*;
pub use limits::*;
pub use pods::*;
pub use secrets::*;
pub use snapshots::*;
pub use sources::*;
pub use subject::{Ran, Subject};
pub use users::*;

/// How long a case waits for what should come at once.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A case of the contract.
pub type Case = for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every case with its name.
        pub const CASES: &[(&str, Case)] = &[$((stringify!($name), |subject| Box::pin($name(subject)))),*];
    };
}

cases![
    exit_codes_and_signals_are_told,
    streams_are_kept_apart,
    environment_and_directory_are_given,
    standard_input_is_empty,
    every_byte_arrives_through_a_slow_reader,
    a_reader_that_goes_away_ends_the_command,
    machines_run_at_once,
    a_machine_runs_several_commands_at_once,
    commands_of_a_machine_share_a_pipe,
    an_unknown_image_is_not_found,
    files_survive_a_snapshot,
    forks_are_independent,
    a_machine_goes_on_after_its_snapshot,
    removed_files_stay_removed,
    a_long_chain_of_snapshots_holds,
    a_removed_snapshot_is_gone_and_its_children_are_not,
    the_source_lies_in_the_workspace,
    the_source_is_exchanged_under_a_snapshot,
    a_shadowed_source_file_that_changes_makes_a_snapshot_stale,
    replaced_directory_and_later_source_are_not_mixed,
    source_paths_that_steps_did_not_touch_are_exchanged,
    cancellation_ends_the_command,
    a_terminated_command_without_a_handler_ends_at_once,
    a_terminated_command_has_its_grace,
    a_terminated_child_with_a_handler_has_its_grace,
    a_grace_ends,
    nothing_of_a_command_outlives_it,
    a_dropped_machine_leaves_nothing,
    a_command_runs_as_the_user_it_names,
    an_unknown_user_is_refused,
    an_image_says_how_it_is_run,
    machines_of_a_pod_share_localhost,
    a_pod_is_closed_to_others,
    a_machine_goes_from_pod_to_pod,
    a_pods_names_are_in_no_snapshot,
    a_closed_pod_stays_closed,
    a_secret_ends_with_its_command,
    a_secret_is_in_no_argument,
    secret_files_are_the_commands_alone,
    a_cache_directory_is_kept,
    a_failed_command_leaves_a_cache_directory_as_it_was,
    a_cache_directory_keeps_what_the_command_says,
    commands_at_once_share_a_cache_directory,
    a_cache_directory_is_in_no_snapshot,
    a_cache_directory_lies_where_it_is_asked_for,
    a_cache_directory_can_be_removed,
    files_are_copied_out_by_pattern,
    files_beyond_the_limits_are_left_out,
    a_pattern_that_leads_out_is_refused,
    disk_limit_holds_after_output_is_closed,
    command_that_ended_before_its_cancel_has_passed,
    links_are_not_followed_out,
    strange_names_and_modes_are_copied_out,
];

/// Runs every case, each on a subject of its own.
///
/// # Panics
/// When the contract is broken; the panic's message begins with the case's name.
pub async fn run_all(mut subject: impl AsyncFnMut() -> Subject) {
    for (name, case) in CASES {
        let subject = subject().await;
        run(name, *case, &subject).await;
    }
}

/// Runs one case, and checks that it left nothing behind.
///
/// # Panics
/// When the contract is broken.
pub async fn run(name: &str, case: Case, subject: &Subject) {
    let before = subject.leftovers();
    let ended = tokio::time::timeout(PATIENCE, case(subject)).await;
    assert!(ended.is_ok(), "{name}: it hangs");
    assert_eq!(subject.leftovers(), before, "{name}: it left something behind");
}
