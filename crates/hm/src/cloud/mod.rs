//! What `hm` knows about servers: where one is, as whom it is asked, for which organization and pipeline.

mod keep;
mod pipeline;
mod session;

pub use keep::{Kept, KeptLogins, write_private};
pub use pipeline::cloud_pipeline;
pub use session::{Session, server_named};
