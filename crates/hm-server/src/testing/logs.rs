//! The contract of [`LogBus`].

use bytes::Bytes;

use crate::BuildId;
use crate::logs::{LogBus, LogError, LogReader, MAX_RECORD_BYTES};

fn records(numbers: std::ops::Range<u64>) -> Vec<Bytes> {
    numbers
        .map(|number| Bytes::from(format!("record {number}")))
        .collect()
}

async fn rest(reader: &mut dyn LogReader, bytes: usize) -> Vec<(u64, Bytes)> {
    let mut all = Vec::new();
    loop {
        let piece = reader.next(bytes).await.expect("it can be read");
        if piece.is_empty() {
            return all;
        }
        all.extend(piece);
    }
}

fn numbered(from: u64, to: u64) -> Vec<(u64, Bytes)> {
    (from..to).zip(records(from..to)).collect()
}

/// Tries a log bus. `open` opens the same one again, as after a restart; what it answered before is used no longer.
///
/// # Panics
/// When the contract is broken.
pub async fn logs(open: impl Fn() -> Box<dyn LogBus>) {
    let bus = open();
    let (build, other) = (BuildId::new(), BuildId::new());
    assert_eq!(bus.head(build).await.expect("it answers"), 0);
    let mut early = bus.read(build, 1).await.expect("it can be read");
    assert!(early.next(100).await.expect("it can be read").is_empty());

    assert_eq!(
        bus.append(build, 1, &records(1..4)).await.expect("they are kept"),
        3
    );
    assert_eq!(
        bus.append(build, 2, &records(2..6)).await.expect("they are kept"),
        5
    );
    assert_eq!(
        bus.append(build, 1, &records(1..3))
            .await
            .expect("they are there"),
        5
    );
    assert_eq!(
        bus.append(build, 6, &[]).await.expect("there is nothing to keep"),
        5
    );
    for first in [0, 7, u64::MAX] {
        let gap = bus.append(build, first, &records(7..8)).await;
        assert!(
            matches!(gap, Err(LogError::Gap { head: 5, .. })),
            "{first}: {gap:?}"
        );
    }
    for bad in [
        "a\nb".to_owned(),
        "a\0b".to_owned(),
        "x".repeat(MAX_RECORD_BYTES + 1),
    ] {
        let refused = bus
            .append(build, 6, &[Bytes::from("good"), Bytes::from(bad)])
            .await;
        assert!(matches!(refused, Err(LogError::BadRecord { .. })), "{refused:?}");
    }
    assert_eq!(bus.head(build).await.expect("it answers"), 5);
    assert_eq!(bus.head(other).await.expect("it answers"), 0);
    early.more().await;
    assert_eq!(rest(&mut *early, 1).await, numbered(1, 6));

    let mut later = bus.read(build, 4).await.expect("it can be read");
    assert_eq!(rest(&mut *later, 1000).await, numbered(4, 6));
    let mut ahead = bus.read(build, 7).await.expect("it can be read");
    let followed = async {
        // Both may have come before the first is read.
        let mut heard = Vec::new();
        while heard.len() < 2 {
            later.more().await;
            heard.extend(later.next(1000).await.expect("it can be read"));
        }
        assert_eq!(heard, numbered(6, 8));
        ahead.more().await;
        assert_eq!(rest(&mut *ahead, 1000).await, numbered(7, 8));
    };
    let written = async {
        bus.append(build, 6, &records(6..7)).await.expect("it is kept");
        bus.append(build, 7, &records(7..8)).await.expect("it is kept");
    };
    tokio::join!(followed, written);

    // Far more than fits into one file, and a reader that stands still meanwhile.
    let mut head = 7;
    while head < 60_000 {
        head = bus
            .append(build, head + 1, &records(head + 1..head + 1001))
            .await
            .expect("they are kept");
    }
    assert_eq!(rest(&mut *early, 10_000).await, numbered(6, head + 1));
    drop((early, later, ahead, bus));

    let bus = open();
    assert_eq!(bus.head(build).await.expect("it answers"), head);
    for from in [1, 2, 30_000, head, head + 1] {
        let mut reader = bus.read(build, from).await.expect("it can be read");
        assert_eq!(
            rest(&mut *reader, 1 << 16).await,
            numbered(from, head + 1),
            "from {from}"
        );
    }
    assert_eq!(
        bus.append(build, head, &records(head..head + 2))
            .await
            .expect("it is kept"),
        head + 1
    );
    let mut left = bus.read(build, head + 2).await.expect("it can be read");
    let mut late = bus.read(build, head).await.expect("it can be read");
    for _ in 0..2 {
        bus.remove(build).await.expect("it goes away");
        assert_eq!(bus.head(build).await.expect("it answers"), 0);
    }
    left.more().await;
    for reader in [&mut left, &mut late] {
        let removed = reader.next(100).await;
        assert!(matches!(removed, Err(LogError::Removed { .. })), "{removed:?}");
    }
}
