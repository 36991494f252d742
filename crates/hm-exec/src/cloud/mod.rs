//! Builds on a server: [`CloudBackend`] submits the plan and the source, and watches.
//!
//! ```text
//! backend   submits            archive   the source as it is sent
//!                              options   how the build runs, as it is sent
//! watch     follows the build  attempts  one stream of events out of several attempts at it
//! heard     what comes from the server, and what the agent says of itself
//! follow    follows a build that was submitted elsewhere
//! ```

mod answers;
mod archive;
mod attempts;
mod backend;
mod follow;
mod heard;
mod options;
mod results;
mod watch;

pub use backend::{CloudBackend, CloudConfig};
pub use follow::follow;
