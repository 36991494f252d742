//! A client of the Harmont REST API: builds, jobs, live logs, organizations, login.
//!
//! ```no_run
//! # async fn example() -> harmont_client::Result<()> {
//! use harmont_client::HarmontClient;
//!
//! let client = HarmontClient::with_base_url("token", "https://ci.example");
//! let build = client.build("my-org", "ci", 42).await?;
//! println!("{}", build.state);
//! # Ok(())
//! # }
//! ```
//!
//! What is safe to send twice is sent again, with growing pauses, when the server cannot be reached or says that it is
//! overloaded; a live stream goes on after the last event that arrived. This crate keeps no credentials: the
//! caller passes the token in. Of the environment it reads the proxies alone, by the crate that sends the requests.
#![forbid(unsafe_code)]

mod account;
pub mod agent;
mod builds;
mod client;
mod error;
mod foreign;
mod job_log;
pub mod login;
pub mod models;
mod organizations;
mod records;
mod request;
mod retry;
mod sse;

pub use client::{DEFAULT_BASE_URL, HarmontClient};
pub use error::{HarmontError, Result};
pub use foreign::SourceHosts;
pub use job_log::{LogChunk, LogEvent, StreamKind};
pub use records::BuildRecord;
