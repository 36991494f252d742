//! Images on disk: an OCI layout, a `docker save` archive.

use std::path::Path;

use serde_json::json;

use super::{BuiltImage, digest};

impl BuiltImage {
    /// Writes an OCI layout directory. `name`: what the index calls it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_layout(&self, directory: &Path, name: &str) {
        for (path, bytes) in self.layout(name) {
            let path = directory.join(path);
            let written = std::fs::create_dir_all(path.parent().unwrap_or(directory))
                .and_then(|()| std::fs::write(&path, bytes));
            assert!(written.is_ok(), "{}: {written:?}", path.display());
        }
    }

    /// An OCI layout as a tar archive.
    #[must_use]
    pub fn layout_archive(&self, name: &str) -> Vec<u8> {
        archive(self.layout(name))
    }

    fn layout(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        let mut descriptor = self.descriptor();
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor] });
        let blobs = self.blobs().chain([self.manifest.as_slice()]);
        let mut files: Vec<_> = blobs
            .map(|blob| (format!("blobs/{}", digest(blob).replace(':', "/")), blob.to_vec()))
            .collect();
        files.push((
            "oci-layout".into(),
            json!({ "imageLayoutVersion": "1.0.0" }).to_string().into(),
        ));
        files.push(("index.json".into(), index.to_string().into()));
        files
    }

    /// What `docker save NAME` writes, in the form before Docker 25.
    #[must_use]
    pub fn docker_archive(&self, name: &str) -> Vec<u8> {
        let config = format!("{}.json", &digest(&self.config)["sha256:".len()..]);
        let id = |archive: &Vec<u8>| digest(archive)["sha256:".len()..].to_owned();
        let layers: Vec<_> = self
            .archives
            .iter()
            .map(|archive| format!("{}/layer.tar", id(archive)))
            .collect();
        let manifest = json!([{ "Config": config, "RepoTags": [name], "Layers": layers }]);
        let mut files: Vec<_> = layers.into_iter().zip(self.archives.iter().cloned()).collect();
        files.push((config, self.config.clone()));
        files.push(("manifest.json".into(), manifest.to_string().into()));
        archive(files)
    }
}

fn archive(files: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        let appended = builder.append_data(&mut header, path, bytes.as_slice());
        assert!(appended.is_ok(), "{appended:?}");
    }
    builder.into_inner().unwrap_or_default()
}
