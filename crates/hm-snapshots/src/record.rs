//! What the registry's files hold, as text that tells when it was cut short.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use hm_vm::SnapshotId;

/// Where in a snapshot's record the word lies that says whether it was flushed: it is overwritten in place, and so is not
/// part of what the record's digest is of. No flipped bit makes one word of the other.
pub(super) const SYNCED_AT: u64 = 4;
pub(super) const SYNCED: &[u8; 8] = b"synced!!";
const UNSYNCED: &[u8; 8] = b"unsynced";
const VERSION: &[u8] = b"hm2 ";

/// A snapshot's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Whether it is known to have reached the disk.
    pub(super) synced: bool,
    /// The boot in which it was taken.
    pub(super) boot: String,
    /// When it was registered, in milliseconds since 1970.
    pub(super) created_ms: u64,
    /// What left it.
    pub(super) origin: Option<SnapshotOrigin>,
}

/// The step that left a snapshot: for people, who decide what can go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotOrigin {
    /// The repository's directory.
    pub repository: String,
    /// The pipeline.
    pub pipeline: String,
    /// The step's key.
    pub step: String,
}

impl Record {
    pub(super) fn new(boot: &str, now: SystemTime, origin: Option<SnapshotOrigin>) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            synced: false,
            boot: boot.to_owned(),
            created_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            origin,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let word = if self.synced { SYNCED } else { UNSYNCED };
        // It is for people: without it the snapshot is as good.
        let origin = serde_json::to_string(&self.origin).unwrap_or_else(|_| "null".into());
        let content = format!("{}\n{}\n{origin}\n", self.boot, self.created_ms);
        [VERSION, word, b"\n", &hm_fs::seal(content.as_bytes())].concat()
    }

    /// Nothing when the bytes are damaged or of another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (word, rest) = bytes.strip_prefix(VERSION)?.split_at_checked(SYNCED.len())?;
        let synced = word == SYNCED;
        if !synced && word != UNSYNCED {
            return None;
        }
        let content = hm_fs::unseal(rest.strip_prefix(b"\n")?)?;
        let text = std::str::from_utf8(content).ok()?.strip_suffix('\n')?;
        let mut lines = text.split('\n');
        let boot = lines.next()?.to_owned();
        let created_ms = lines.next()?.parse().ok()?;
        let origin = serde_json::from_str(lines.next()?).ok()?;
        lines.next().is_none().then_some(Self {
            synced,
            boot,
            created_ms,
            origin,
        })
    }

    pub(super) fn created(&self) -> SystemTime {
        UNIX_EPOCH
            .checked_add(Duration::from_millis(self.created_ms))
            .unwrap_or(UNIX_EPOCH)
    }

    /// Whether a power loss may have damaged the snapshot.
    pub(super) fn is_lost(&self, boot: &str) -> bool {
        !self.synced && self.boot != boot
    }
}

/// A cache key's file: the snapshot, then the key itself.
pub(super) fn encode_key(key: &str, snapshot: &SnapshotId) -> Vec<u8> {
    hm_fs::seal(format!("{snapshot}\n{key}\n").as_bytes())
}

/// The snapshot and the key, or nothing when the bytes are damaged.
pub(super) fn decode_key(bytes: &[u8]) -> Option<(SnapshotId, &str)> {
    let text = std::str::from_utf8(hm_fs::unseal(bytes)?)
        .ok()?
        .strip_suffix('\n')?;
    let (snapshot, key) = text.split_once('\n')?;
    is_snapshot_id(snapshot).then(|| (SnapshotId(snapshot.to_owned()), key))
}

/// Whether an id can be a file's name: what [`SnapshotId`] promises, and no path.
pub(super) fn is_snapshot_id(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    !id.is_empty() && id.len() <= 200 && !id.starts_with('.') && id.chars().all(allowed)
}

/// The file name of an arbitrary text.
pub(super) fn file_name(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// The file name of a cache key: the key itself where it is the hexadecimal text that it should be.
pub(super) fn key_file_name(key: &str) -> String {
    let is_hex = key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex && (8..=128).contains(&key.len()) {
        key.to_owned()
    } else {
        format!("t-{}", file_name(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cut_or_damaged_record_is_no_record(
            synced in any::<bool>(), created_ms in any::<u64>(), cut in 0usize..300, bit in 0u8..8,
        ) {
            let origin = SnapshotOrigin { repository: "/a\nb".into(), pipeline: "ci".into(), step: "s".into() };
            let record = Record { synced, boot: "a-boot".into(), created_ms, origin: synced.then_some(origin) };
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes), Some(record));
            if cut < bytes.len() {
                prop_assert_eq!(Record::decode(&bytes[..cut]), None);
                let mut damaged = bytes.clone();
                damaged[cut] ^= 1 << bit;
                prop_assert_eq!(Record::decode(&damaged), None);
            }
        }

        #[test]
        fn any_bytes_decode_or_not_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Record::decode(&bytes);
            if let Some((id, _)) = decode_key(&bytes) {
                prop_assert!(is_snapshot_id(&id.0));
            }
        }
    }

    #[test]
    fn the_flushed_word_is_where_it_is_overwritten() {
        let mut bytes = Record::new("boot", SystemTime::now(), None).encode();
        assert!(Record::decode(&bytes).is_some_and(|record| record.is_lost("another")));
        let at = usize::try_from(SYNCED_AT).expect("small");
        bytes[at..at + SYNCED.len()].copy_from_slice(SYNCED);
        assert!(Record::decode(&bytes).is_some_and(|record| record.synced && !record.is_lost("another")));
    }

    #[test]
    fn a_path_is_no_snapshot_id() {
        for id in ["", ".", "..", "a/b", "../x", ".hidden", "a b", "a\n"] {
            assert!(!is_snapshot_id(id), "{id:?}");
        }
        assert!(is_snapshot_id("sha256:0f-1_2.x"));
    }
}
