//! What a run is called before a person.

use uuid::Uuid;

/// The short form of a run's id, which commands accept in its place: its first eight hexadecimal digits.
#[must_use]
pub fn short_run_id(run_id: Uuid) -> String {
    let mut id = run_id.simple().to_string();
    id.truncate(8);
    id
}
