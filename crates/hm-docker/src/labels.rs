//! What everything that hm makes in the engine is marked with, so that it is found again and nothing else is touched.

use std::collections::HashMap;

/// Whose it is: the id of a data directory.
pub(super) const STORE: &str = "dev.harmont.hm.store";
/// Which process made it: the name of a lock file in the data directory.
pub(super) const OWNER: &str = "dev.harmont.hm.owner";
/// What it is, one of the roles below.
pub(super) const ROLE: &str = "dev.harmont.hm.role";
/// Which of its role it is.
pub(super) const ID: &str = "dev.harmont.hm.id";

/// A machine's container.
pub(super) const MACHINE: &str = "machine";
/// The container that holds a pod's network.
pub(super) const POD: &str = "pod";
/// A snapshot's image.
pub(super) const SNAPSHOT: &str = "snapshot";
/// An image with a source laid into it.
pub(super) const SOURCED: &str = "sourced";
/// An image that is to become another; nothing refers to it yet.
pub(super) const PASSING: &str = "passing";
/// An image made of files of this machine.
pub(super) const IMPORTED: &str = "imported";
/// A cache directory's volume.
pub(super) const CACHE: &str = "cache";

/// The repository of all images that hm names. Nothing of this name can be pulled or pushed by accident.
pub(super) const REPOSITORY: &str = "localhost/hm";

/// The name of an image of ours.
pub(super) fn image_name(role: &str, id: &str) -> String {
    format!("{REPOSITORY}-{role}:{id}")
}

/// The filter of a listing.
pub(super) fn filter(store: &str, role: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(
        "label".to_owned(),
        vec![format!("{STORE}={store}"), format!("{ROLE}={role}")],
    )])
}
