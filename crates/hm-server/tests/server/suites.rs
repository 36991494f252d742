//! The embedded implementations pass the suites that every implementation passes.

use hm_server::blobs::DirectoryBlobs;
use hm_server::logs::FileLogBus;
use hm_server::queue::SqliteQueue;
use hm_server::store::{Database, SqliteStore};
use hm_server::testing;

#[tokio::test]
async fn sqlite_is_a_store() {
    let data = tempfile::tempdir().unwrap();
    let database = Database::open(&data.path().join("hm.sqlite")).await.unwrap();
    testing::store(&SqliteStore::new(database.clone())).await;
    database.close().await;
}

#[tokio::test]
async fn sqlite_keeps_account_of_what_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let database = Database::open(&data.path().join("hm.sqlite")).await.unwrap();
    testing::retention(&SqliteStore::new(database.clone())).await;
    database.close().await;
}

#[tokio::test]
async fn sqlite_finds_the_newest_builds() {
    let data = tempfile::tempdir().unwrap();
    let database = Database::open(&data.path().join("hm.sqlite")).await.unwrap();
    testing::recent(&SqliteStore::new(database.clone())).await;
    database.close().await;
}

#[tokio::test]
async fn sqlite_is_a_queue() {
    let data = tempfile::tempdir().unwrap();
    let database = Database::open(&data.path().join("hm.sqlite")).await.unwrap();
    testing::queue(&SqliteQueue::new(database.clone())).await;
    database.close().await;
}

#[tokio::test]
async fn files_are_a_log_bus() {
    let data = tempfile::tempdir().unwrap();
    testing::logs(|| Box::new(FileLogBus::new(data.path().join("logs")))).await;
}

#[tokio::test]
async fn a_directory_is_a_place_for_blobs() {
    let data = tempfile::tempdir().unwrap();
    testing::blobs(&DirectoryBlobs::open(data.path()).unwrap()).await;
    assert_eq!(std::fs::read_dir(data.path().join("sources")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_crash_left_of_a_line_is_cut_off() {
    use bytes::Bytes;
    use hm_server::BuildId;
    use hm_server::logs::LogBus;
    use std::io::Write;

    let data = tempfile::tempdir().unwrap();
    let build = BuildId::new();
    let bus = FileLogBus::new(data.path().to_owned());
    bus.append(build, 1, &[Bytes::from("one"), Bytes::from("two")])
        .await
        .unwrap();
    let id = build.to_string();
    let segment = data
        .path()
        .join(&id[id.len() - 2..])
        .join(&id)
        .join(format!("{:020}.jsonl", 1));
    std::fs::OpenOptions::new()
        .append(true)
        .open(&segment)
        .unwrap()
        .write_all(b"thr")
        .unwrap();

    let bus = FileLogBus::new(data.path().to_owned());
    let mut reader = bus.read(build, 1).await.unwrap();
    assert_eq!(reader.next(1000).await.unwrap().len(), 2);
    assert_eq!(bus.append(build, 3, &[Bytes::from("three")]).await.unwrap(), 3);
    assert_eq!(reader.next(1000).await.unwrap(), [(3, Bytes::from("three"))]);
    assert_eq!(std::fs::read(&segment).unwrap(), b"one\ntwo\nthree\n");

    // Wherever the last record was cut, and whatever a file system made of the place.
    for cut in 8..14 {
        for filler in [&b""[..], b"\0\0\0\0", b"\0\0\nx\n"] {
            std::fs::write(&segment, [&b"one\ntwo\nthree\n"[..cut], filler].concat()).unwrap();
            let bus = FileLogBus::new(data.path().to_owned());
            assert_eq!(bus.head(build).await.unwrap(), 2, "{cut} {filler:?}");
            assert_eq!(std::fs::read(&segment).unwrap(), b"one\ntwo\n");
            assert_eq!(bus.append(build, 3, &[Bytes::from("again")]).await.unwrap(), 3);
            let mut reader = bus.read(build, 2).await.unwrap();
            let records = reader.next(1000).await.unwrap();
            assert_eq!(records, [(2, Bytes::from("two")), (3, Bytes::from("again"))]);
        }
    }
}
