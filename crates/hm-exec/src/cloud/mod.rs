//! Builds on a server: [`CloudBackend`] submits the plan and the source, and watches.
//!
//! ```text
//! backend   submits            archive   the source as it is sent
//! watch     follows the build  attempts  one stream of events out of several attempts at it
//! follow    follows a build that was submitted elsewhere
//! ```

mod answers;
mod archive;
mod attempts;
mod backend;
mod follow;
mod results;
mod watch;

pub use backend::{CloudBackend, CloudConfig};
pub use follow::follow;
