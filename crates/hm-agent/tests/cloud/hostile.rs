//! Source archives that no honest client sends.

use std::io::Write;

use base64::Engine;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use harmont_client::models::{BuildState, NewBuild};
use hm_exec::testing::{PlanWriter, StepWriter};
use hm_vm::testing::MemoryBackend;

use crate::support::{Cloud, ORG, PIPELINE};

/// An archive of one file by a name that `tar`'s own writer would refuse.
fn archive_of(name: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(5);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(b"evil\n");
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    packed(&bytes)
}

/// An archive of a link out of the source, and a file behind it.
fn archive_through_a_link() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    archive.append_link(&mut link, "out", "../..").expect("a link");
    let mut file = tar::Header::new_gnu();
    file.set_size(5);
    file.set_mode(0o644);
    archive
        .append_data(&mut file, "out/evil", &b"evil\n"[..])
        .expect("a file");
    packed(&archive.into_inner().expect("an archive"))
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("memory");
    packed.finish().expect("memory")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_source_fails_the_build_and_reaches_nothing() {
    let mut cloud = Cloud::start().await;
    let vm = MemoryBackend::new();
    let agent = cloud.agent("agent", &vm);
    let plan = PlanWriter::of([StepWriter::new("one", "true")]).json();
    let archives = [
        archive_of("../evil"),
        archive_of("/tmp/hm-evil-of-a-test"),
        archive_through_a_link(),
        b"no archive at all".to_vec(),
    ];
    for (number, archive) in archives.into_iter().enumerate() {
        let text = base64::engine::general_purpose::STANDARD.encode(archive);
        let new = NewBuild {
            branch: "main".into(),
            commit: "none".into(),
            pipeline_ir: Some(plan.clone()),
            ..NewBuild::default()
        };
        let pieces = stream::iter([Ok(text.into())]);
        let build = cloud
            .client
            .submit_build(ORG, PIPELINE, &new, Some(pieces))
            .await
            .expect("it is taken");
        let ended = loop {
            let build = cloud
                .client
                .build(ORG, PIPELINE, build.number)
                .await
                .expect("a build");
            if build.state.is_final() {
                break build;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!(ended.state, BuildState::Failed, "archive {number}: {ended:?}");
        let words = ended.error_message.expect("it says why");
        assert!(
            words.contains("source archive is refused"),
            "archive {number}: {words}"
        );
    }
    agent.drain().await;
    cloud.stop().await;
    assert_eq!(vm.counters().execs, 0, "nothing ran");
    let mut open = vec![cloud.dirs.path().to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let entry = entry.expect("an entry");
            assert_ne!(entry.file_name(), "evil", "{}", entry.path().display());
            if entry.file_type().expect("a type").is_dir() {
                open.push(entry.path());
            }
        }
    }
    assert!(!std::path::Path::new("/tmp/hm-evil-of-a-test").exists());
}
