//! Which images hm had the engine fetch or take.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::shared::Shared;
use super::state;
use hm_vm::{ImageReference, Result};

/// What is remembered of an image that hm brought in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// What the engine knows it by.
    pub name: String,
    /// As it was written.
    pub reference: String,
    pub digest: String,
    /// When something was last started from it.
    pub used: SystemTime,
}

/// Remembers an image that was not there before.
pub(super) async fn remember(
    shared: &Shared,
    name: &str,
    reference: &ImageReference,
    digest: &str,
) -> Result<()> {
    let state = shared.state().await?;
    let record = Record {
        name: name.to_owned(),
        reference: reference.to_string(),
        digest: digest.to_owned(),
        used: SystemTime::now(),
    };
    state.write_json(&state.image(name), &record)
}

/// Whether hm brought an image in.
pub(super) async fn is_remembered(shared: &Shared, name: &str) -> Result<bool> {
    Ok(shared.state().await?.image(name).exists())
}

/// Says that something was started from an image just now.
pub(super) async fn touch(shared: &Shared, name: &str) -> Result<()> {
    let state = shared.state().await?;
    let path = state.image(name);
    if let Some(mut record) = state::read_json::<Record>(&path)? {
        record.used = SystemTime::now();
        state.write_json(&path, &record)?;
    }
    Ok(())
}

/// All of them, those that were used longest ago first.
pub(super) async fn records(shared: &Shared) -> Result<Vec<Record>> {
    let state = shared.state().await?;
    let mut records = Vec::new();
    for key in state.names("images")? {
        records.extend(state::read_json::<Record>(&state.image_by_key(&key))?);
    }
    records.sort_by(|a, b| (a.used, &a.name).cmp(&(b.used, &b.name)));
    Ok(records)
}
