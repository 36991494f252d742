//! What all of hm's stores need of a file system: private directories, records that show when they were damaged, locks
//! and replacements that get over whatever lies in a file's place, and how overlays mark what they hide.
#![forbid(unsafe_code)]

mod data_dir;
mod files;
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
mod overlay;

pub use data_dir::{close_entries, close_to_others, mend_directories};
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
pub use files::rename_over_any;
pub use files::{
    create_private, digest_of, is_absent, line_digest, open_existing, open_lock, open_lock_file, read,
    read_sealed, remove_any, rename_over, seal, unseal,
};
#[cfg(all(target_os = "linux", not(hm_elsewhere)))]
pub use overlay::Marks;
