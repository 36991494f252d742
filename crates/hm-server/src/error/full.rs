//! Whether something failed because there is no room for it.

use std::error::Error;
use std::io;

/// SQLite's code for a full disk.
const SQLITE_FULL: &str = "13";

/// Whether a full disk is behind an error.
pub(super) fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        let database = error.downcast_ref::<sqlx::Error>();
        let code = database
            .and_then(sqlx::Error::as_database_error)
            .and_then(|error| error.code());
        if io.is_some_and(is_full_io) || code.is_some_and(|code| code == SQLITE_FULL) {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_full_io(error: &io::Error) -> bool {
    let full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    // An error in an error is no source of it.
    full || error.get_ref().is_some_and(|inner| is_full(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::LogError;

    #[test]
    fn it_is_found_wherever_it_stands() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let log = |source| LogError::Io {
            build: crate::BuildId::new(),
            source,
        };
        assert!(is_full(&log(full())));
        assert!(is_full(&log(io::Error::other(full()))));
        assert!(!is_full(&log(io::ErrorKind::PermissionDenied.into())));
    }
}
