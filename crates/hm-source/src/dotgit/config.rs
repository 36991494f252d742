//! A repository's configuration, as a step has it.

use crate::repository::Repository;

/// What git must not do, or must not know, in a copy.
const IN_A_COPY: &str = "
[core]
	# The files are copies: of what git remembers of them, size and time in seconds still hold.
	checkStat = minimal
	bare = false
	fsmonitor = false
	untrackedCache = false
	splitIndex = false
";

/// The configuration with what holds in a copy; the last value wins.
pub(super) fn rewritten(text: &[u8], repository: &Repository) -> Vec<u8> {
    let mut text = text.to_vec();
    text.extend_from_slice(IN_A_COPY.as_bytes());
    if repository.names_worktree {
        // It is the directory above, wherever it was.
        text.extend_from_slice(b"\tworktree = ..\n");
    }
    text
}
