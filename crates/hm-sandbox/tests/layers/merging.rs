//! Merging layers made by hand: the marks that overlayfs leaves, one by one.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::support::*;
use hm_fs::Marks;
use hm_sandbox::layers::{FileOp, FileReply, perform};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lgetxattr, lsetxattr, mknodat};

/// The attribute that this process's overlays use.
fn overlay(name: &str) -> String {
    let namespace = match Marks::of_process() {
        Marks::User => "user",
        Marks::Trusted => "trusted",
    };
    format!("{namespace}.overlay.{name}")
}

struct Layers(tempfile::TempDir);

impl Layers {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("directory"))
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn whiteout(&self, path: &str) {
        fs::create_dir_all(self.at(path).parent().expect("parent")).expect("directories");
        mknodat(CWD, self.at(path), FileType::CharacterDevice, Mode::empty(), 0).expect("whiteout");
    }

    fn mark(&self, path: &str, name: &str, value: &[u8]) {
        lsetxattr(self.at(path), name, value, XattrFlags::empty()).expect("attribute");
    }

    fn opaque(&self, path: &str) {
        fs::create_dir_all(self.at(path)).expect("directories");
        self.mark(path, &overlay("opaque"), b"y");
    }

    /// Merges `top` over `bottom` into `out`.
    fn merge(&self) {
        for layer in ["top", "bottom"] {
            fs::create_dir_all(self.at(layer)).expect("layer");
        }
        let op = FileOp::Merge {
            sources: vec![self.at("top").into(), self.at("bottom").into()],
            destination: self.at("out").into(),
            closed: false,
        };
        assert_eq!(perform(op).expect("merge"), FileReply::Merged);
    }

    fn is_whiteout(&self, path: &str) -> bool {
        let metadata = self.at(path).symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.file_type().is_char_device() && metadata.rdev() == 0)
    }
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0u8; 64];
    lgetxattr(path, name, &mut value)
        .ok()
        .map(|size| value[..size].to_vec())
}

fn opaque(path: &Path) -> Option<Vec<u8>> {
    attribute(path, &overlay("opaque"))
}

#[test]
fn the_upper_file_wins_and_shares_its_inode() {
    let layers = Layers::new();
    write(&layers.at("top/d/both"), "top");
    write(&layers.at("bottom/d/both"), "bottom");
    write(&layers.at("bottom/d/below"), "below");
    layers.merge();
    assert_eq!(fs::read_to_string(layers.at("out/d/both")).expect("file"), "top");
    let inode = |path: &str| layers.at(path).metadata().expect("metadata").ino();
    assert_eq!(inode("out/d/both"), inode("top/d/both"));
    assert_eq!(inode("out/d/below"), inode("bottom/d/below"));
    assert_eq!(opaque(&layers.at("out/d")), None);
}

#[test]
fn a_whiteout_hides_the_lower_entry_and_stays() {
    let layers = Layers::new();
    layers.whiteout("top/gone");
    write(&layers.at("bottom/gone/file"), "");
    layers.merge();
    assert!(layers.is_whiteout("out/gone"), "the source may have it too");
}

#[test]
fn an_opaque_directory_hides_the_lower_one_and_needs_no_whiteouts() {
    let layers = Layers::new();
    layers.opaque("top/d");
    write(&layers.at("top/d/kept"), "");
    layers.whiteout("top/d/sub/gone");
    write(&layers.at("bottom/d/hidden"), "");
    layers.merge();
    assert_eq!(opaque(&layers.at("out/d")).as_deref(), Some(b"y".as_slice()));
    assert!(layers.at("out/d/kept").exists() && layers.at("out/d/sub").is_dir());
    assert!(!layers.at("out/d/hidden").exists() && !layers.is_whiteout("out/d/sub/gone"));
}

#[test]
fn a_directory_over_a_whiteout_or_a_file_hides_what_is_below_all_layers() {
    let layers = Layers::new();
    write(&layers.at("top/over-whiteout/new"), "");
    layers.whiteout("bottom/over-whiteout");
    write(&layers.at("top/over-file/new"), "");
    write(&layers.at("bottom/over-file"), "");
    layers.opaque("bottom/below-opaque");
    write(&layers.at("bottom/below-opaque/old"), "");
    write(&layers.at("top/below-opaque/new"), "");
    layers.merge();
    for directory in ["out/over-whiteout", "out/over-file", "out/below-opaque"] {
        assert_eq!(
            opaque(&layers.at(directory)).as_deref(),
            Some(b"y".as_slice()),
            "{directory}"
        );
        assert!(layers.at(directory).join("new").exists());
    }
    assert!(layers.at("out/below-opaque/old").exists());
}

#[test]
fn whiteouts_by_attribute_count_where_their_directory_says_so() {
    let layers = Layers::new();
    for directory in ["marked", "plain"] {
        write(&layers.at(&format!("top/{directory}/gone")), "");
        layers.mark(&format!("top/{directory}/gone"), &overlay("whiteout"), b"y");
        write(&layers.at(&format!("bottom/{directory}/gone/inside")), "");
    }
    layers.mark("top/marked", &overlay("opaque"), b"x");
    layers.merge();
    assert_eq!(opaque(&layers.at("out/marked")).as_deref(), Some(b"x".as_slice()));
    assert!(attribute(&layers.at("out/marked/gone"), &overlay("whiteout")).is_some());
    assert_eq!(opaque(&layers.at("out/plain")), None);
    assert!(layers.at("out/plain/gone").is_file());
}

#[test]
fn a_directory_has_the_attributes_of_the_topmost() {
    let layers = Layers::new();
    write(&layers.at("top/d/new"), "");
    write(&layers.at("bottom/d/old"), "");
    layers.mark("top/d", "user.mine", b"mine");
    layers.mark("top/d", &overlay("origin"), b"of another file system");
    layers.mark("bottom/d", "user.theirs", b"theirs");
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
    fs::set_permissions(layers.at("top/d"), fs::Permissions::from_mode(0o1750)).expect("mode");
    if can_mount() {
        std::os::unix::fs::chown(layers.at("top/d"), Some(1234), Some(4321)).expect("owner");
    }
    fs::File::open(layers.at("top/d"))
        .and_then(|dir| dir.set_modified(time))
        .expect("time");
    layers.merge();
    let (like, merged) = (layers.at("top/d").metadata(), layers.at("out/d").metadata());
    let (like, merged) = (like.expect("metadata"), merged.expect("metadata"));
    assert_eq!(
        (merged.mode(), merged.uid(), merged.gid()),
        (like.mode(), like.uid(), like.gid())
    );
    assert_eq!(merged.modified().expect("time"), time);
    assert_eq!(
        attribute(&layers.at("out/d"), "user.mine").as_deref(),
        Some(b"mine".as_slice())
    );
    assert_eq!(attribute(&layers.at("out/d"), "user.theirs"), None);
    assert_eq!(attribute(&layers.at("out/d"), &overlay("origin")), None);
}

#[test]
fn links_pipes_and_directories_nobody_may_enter_are_merged_too() {
    let layers = Layers::new();
    fs::create_dir_all(layers.at("bottom/closed")).expect("directory");
    std::os::unix::fs::symlink("/nowhere", layers.at("bottom/link")).expect("link");
    mknodat(CWD, layers.at("bottom/pipe"), FileType::Fifo, Mode::RUSR, 0).expect("pipe");
    fs::set_permissions(layers.at("bottom/closed"), fs::Permissions::from_mode(0o000)).expect("mode");
    if !can_mount() {
        return;
    }
    layers.merge();
    assert_eq!(
        fs::read_link(layers.at("out/link")).expect("link"),
        Path::new("/nowhere")
    );
    assert!(
        layers
            .at("out/pipe")
            .metadata()
            .expect("metadata")
            .file_type()
            .is_fifo()
    );
    assert_eq!(
        layers.at("out/closed").metadata().expect("metadata").mode() & 0o7777,
        0
    );
}
