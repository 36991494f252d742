//! The contract of [`Blobs`].

use bytes::Bytes;
use futures::TryStreamExt;

use crate::BuildId;
use crate::blobs::{BlobName, Blobs};

/// Tries a place for blobs. It is left empty.
///
/// # Panics
/// When the contract is broken.
pub async fn blobs(blobs: &dyn Blobs) {
    let build = BuildId::new();
    let name = BlobName::source(build);
    assert!(blobs.get(&name).await.expect("it answers").is_none());

    let piece = Bytes::from(vec![7; 1 << 20]);
    let mut writer = blobs.create(&name).await.expect("a blob begins");
    for _ in 0..12 {
        writer.write(piece.clone()).await.expect("it takes a piece");
    }
    assert!(
        blobs.get(&name).await.expect("it answers").is_none(),
        "half a blob is none"
    );
    writer
        .write(Bytes::from_static(b"end"))
        .await
        .expect("it takes a piece");
    writer.finish().await.expect("it is kept");
    let blob = blobs.get(&name).await.expect("it answers").expect("it is there");
    assert_eq!(blob.bytes, (12 << 20) + 3);
    let pieces: Vec<Bytes> = blob.content.try_collect().await.expect("it can be read");
    assert!(pieces.len() > 1, "a blob is never in memory as a whole");
    let content = pieces.concat();
    assert!(content.ends_with(b"\x07end") && content[..12 << 20].iter().all(|byte| *byte == 7));

    let other = BlobName::source(BuildId::new());
    let mut writer = blobs.create(&other).await.expect("a blob begins");
    writer.write(piece.clone()).await.expect("it takes a piece");
    writer.abort().await.expect("it goes away");
    assert!(blobs.get(&other).await.expect("it answers").is_none());

    let copy = BlobName::source(BuildId::new());
    assert!(!blobs.copy(&other, &copy).await.expect("it answers"));
    assert!(blobs.get(&copy).await.expect("it answers").is_none());
    assert!(blobs.copy(&name, &copy).await.expect("it answers"));

    let listed: Vec<BuildId> = blobs.sources().try_collect().await.expect("it answers");
    assert!(listed.contains(&build), "{listed:?}");
    for _ in 0..2 {
        blobs.remove(&name).await.expect("it goes away");
        assert!(blobs.get(&name).await.expect("it answers").is_none());
    }
    let blob = blobs.get(&copy).await.expect("it answers").expect("it is there");
    assert_eq!(blob.bytes, (12 << 20) + 3, "a copy outlives what it was made of");
    let pieces: Vec<Bytes> = blob.content.try_collect().await.expect("it can be read");
    assert!(pieces.concat() == content, "a copy is the same");
    blobs.remove(&copy).await.expect("it goes away");
}
