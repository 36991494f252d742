//! What `hm` knows about servers: where one is, as whom it is asked, for which organization and pipeline.

mod again;
mod keep;
mod pipeline;
mod session;

pub use again::at_its_server;
pub use keep::{Kept, KeptLogins, write_private};
pub use pipeline::cloud_pipeline;
pub use session::{Session, server_named};
