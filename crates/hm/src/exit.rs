//! The exit codes of `hm`, all of them.

use hm_exec::BuildStatus;

/// The build passed, or was submitted and is not watched, or the command did what it was asked.
pub const PASSED: u8 = 0;
/// A step of the build failed.
pub const FAILED: u8 = 1;
/// The command line is wrong, or the build could not be set up.
pub const SETUP: u8 = 2;
/// The build ran into its timeout.
pub const TIMED_OUT: u8 = 124;
/// The build was canceled.
pub const CANCELED: u8 = 130;

/// The exit code that stands for a build's verdict.
#[must_use]
pub const fn of_status(status: BuildStatus) -> u8 {
    match status {
        BuildStatus::Passed | BuildStatus::Submitted => PASSED,
        BuildStatus::Failed => FAILED,
        BuildStatus::Canceled => CANCELED,
        BuildStatus::TimedOut => TIMED_OUT,
    }
}
