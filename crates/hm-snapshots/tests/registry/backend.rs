//! A backend whose snapshots are files: what is one, and what it takes up, is on disk for every process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hm_snapshots::{Budget, Registry};
use hm_source::Source;
use hm_vm::{
    CacheDirectory, ImageReference, ResolvedImage, Result, SnapshotCheck, SnapshotId, Usage, Vm, VmBackend,
    VmError,
};

#[derive(Debug)]
pub struct FileBackend {
    root: PathBuf,
}

impl FileBackend {
    pub fn new(data: &Path) -> Self {
        let root = data.join("store");
        fs::create_dir_all(&root).expect("store");
        Self { root }
    }

    /// Takes a snapshot of that many bytes.
    pub fn take(&self, id: &str, bytes: u64) -> SnapshotId {
        let file = fs::File::create(self.root.join(id)).expect("snapshot");
        file.set_len(bytes).expect("length");
        SnapshotId(id.to_owned())
    }

    /// Keeps a cache directory of that many bytes, used that many seconds ago.
    pub fn keep_directory(&self, name: &str, bytes: u64, seconds_ago: u64) {
        fs::create_dir_all(self.directories()).expect("directories");
        let file = fs::File::create(self.directories().join(name)).expect("directory");
        file.set_len(bytes).expect("length");
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago))
            .expect("time");
    }

    fn directories(&self) -> PathBuf {
        self.root.with_file_name("directories")
    }

    pub fn has(&self, id: &SnapshotId) -> bool {
        self.root.join(&id.0).exists()
    }

    /// As if the snapshot had been taken an hour ago.
    pub fn age(&self, id: &SnapshotId) {
        let file = fs::File::open(self.root.join(&id.0)).expect("snapshot");
        file.set_modified(SystemTime::now() - Duration::from_secs(3600))
            .expect("time");
    }
}

#[async_trait::async_trait]
impl VmBackend for FileBackend {
    fn name(&self) -> &str {
        "file"
    }

    fn default_image(&self) -> ImageReference {
        ImageReference::new(ImageReference::HOST)
    }

    async fn resolve(&self, _image: &ImageReference) -> Result<ResolvedImage> {
        Err(VmError::Other("no images".into()))
    }

    async fn create(&self, _image: &ResolvedImage) -> Result<Box<dyn Vm>> {
        Err(VmError::Other("no machines".into()))
    }

    async fn restore(&self, _snapshot: &SnapshotId) -> Result<Box<dyn Vm>> {
        Err(VmError::Other("no machines".into()))
    }

    async fn check(&self, snapshot: &SnapshotId, _source: &Source) -> Result<SnapshotCheck> {
        Ok(if self.has(snapshot) {
            SnapshotCheck::Usable
        } else {
            SnapshotCheck::Missing
        })
    }

    async fn remove(&self, snapshot: &SnapshotId) -> Result<u64> {
        let path = self.root.join(&snapshot.0);
        let bytes = self.reclaimable(snapshot).await?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(VmError::io("cannot remove", path)(error)),
        }
    }

    async fn reclaimable(&self, snapshot: &SnapshotId) -> Result<u64> {
        Ok(fs::metadata(self.root.join(&snapshot.0)).map_or(0, |metadata| metadata.len()))
    }

    async fn snapshots(&self) -> Result<Vec<(SnapshotId, SystemTime)>> {
        let entries = fs::read_dir(&self.root).map_err(VmError::io("cannot list", &self.root))?;
        let snapshot = |entry: fs::DirEntry| {
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
            Some((SnapshotId(entry.file_name().into_string().ok()?), modified))
        };
        Ok(entries.flatten().filter_map(snapshot).collect())
    }

    async fn usage(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        for (id, _) in self.snapshots().await? {
            usage.bytes += self.reclaimable(&id).await?;
            usage.snapshots += 1;
        }
        Ok(usage)
    }

    async fn cache_directories(&self) -> Result<Vec<CacheDirectory>> {
        let Ok(entries) = fs::read_dir(self.directories()) else {
            return Ok(Vec::new());
        };
        let directory = |entry: fs::DirEntry| {
            let metadata = entry.metadata().ok()?;
            Some(CacheDirectory {
                name: entry.file_name().into_string().ok()?,
                bytes: metadata.len(),
                used: metadata.modified().ok()?,
            })
        };
        Ok(entries.flatten().filter_map(directory).collect())
    }

    async fn remove_cache_directory(&self, name: &str) -> Result<u64> {
        let path = self.directories().join(name);
        let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        fs::remove_file(&path)
            .map(|()| bytes)
            .map_err(VmError::io("cannot remove", path))
    }

    async fn reclaim(&self) -> Result<()> {
        Ok(())
    }
}

pub fn budget(max_bytes: u64) -> Budget {
    Budget {
        max_bytes,
        floor_bytes: 0,
        min_free_bytes: 0,
    }
}

pub fn registry(data: &Path) -> Registry {
    Registry::open(&data.join("registry/file")).expect("registry")
}

/// Says that a snapshot was last used that many seconds ago.
pub fn used(registry: &Registry, id: &SnapshotId, seconds_ago: u64) {
    let file = fs::File::open(registry.root().join("snapshots").join(&id.0)).expect("record");
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds_ago))
        .expect("time");
}

/// What must hold at any moment that no process is at work: no damaged record, no dangling key that a look-up
/// gives out, no registered snapshot that the store lacks.
pub fn assert_valid(registry: &Registry, backend: &FileBackend) {
    for record in registry.list().expect("list") {
        assert!(!record.lost, "{:?} is damaged", record.id);
        assert!(
            backend.has(&record.id),
            "{:?} is registered and not there",
            record.id
        );
        for key in &record.keys {
            assert_eq!(registry.lookup(key).expect("lookup"), Some(record.id.clone()));
        }
    }
}
