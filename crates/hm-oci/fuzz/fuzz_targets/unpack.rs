//! Arbitrary bytes are unpacked as a layer: nothing may appear outside the directory that it is given.
#![no_main]

use std::path::Path;

use hm_oci::UnpackLimits;
use hm_oci::unpack::{Form, Unpack, unpack};
use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let Some((how, archive)) = bytes.split_first() else {
        return;
    };
    let archive = if how & 1 == 0 { archive.to_vec() } else { mended(archive) };
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| place.path().join(name);
    for directory in ["root", "outside"] {
        std::fs::create_dir(path(directory)).expect("it can be made");
    }
    std::fs::write(path("outside/secret"), "secret").expect("it can be written");
    std::fs::write(path("layer.tar"), archive).expect("it can be written");
    let _ = unpack(&Unpack {
        archive: path("layer.tar"),
        offset: 0,
        length: None,
        destination: path("root"),
        form: if how & 2 == 0 { Form::Layer } else { Form::RootFilesystem },
        digest: None,
        diff_id: None,
        limits: UnpackLimits {
            bytes: 4 << 20,
            entries: 1000,
            ratio: 200,
            keep_free: 0,
        },
    });
    assert_eq!(names(place.path()), ["layer.tar", "outside", "root"]);
    assert_eq!(names(&path("outside")), ["secret"]);
    let secret = path("outside/secret");
    assert_eq!(std::fs::read(&secret).expect("it is there"), b"secret");
    let metadata = std::fs::metadata(&secret).expect("it is there");
    assert_eq!(std::os::unix::fs::MetadataExt::nlink(&metadata), 1);
    for name in ["escaped", "layer.tar/a"] {
        assert!(!Path::new("/").join(name).exists());
    }
});

/// The same with checksums that are right, or hardly an input would come past the first header.
fn mended(archive: &[u8]) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..at + BLOCK) {
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        let size = header.entry_size().unwrap_or(0);
        if size > archive.len() as u64 {
            header.set_size(0);
        }
        let size = usize::try_from(header.entry_size().unwrap_or(0)).unwrap_or(0);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        at += BLOCK + size.div_ceil(BLOCK) * BLOCK;
    }
    bytes
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("it is there");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("it is there").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
