//! Images, built in memory.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{Layer, digest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image in the making.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    layers: Vec<Layer>,
    platform: (String, String),
    config: Value,
}

/// An image: its manifest, its configuration and its layers, byte for byte.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// The configuration's bytes.
    pub config: Vec<u8>,
    /// The layers, packed.
    pub layers: Vec<Vec<u8>>,
    /// The layers' archives.
    pub archives: Vec<Vec<u8>>,
    /// Operating system and architecture.
    pub platform: (String, String),
}

impl ImageBuilder {
    /// An image without anything in it, for this machine.
    #[must_use]
    pub fn empty() -> Self {
        let platform = crate::Platform::this_machine();
        Self {
            layers: Vec::new(),
            platform: (platform.os, platform.architecture),
            config: json!({ "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"] }),
        }
    }

    /// An image with a shell and the usual small programs.
    #[must_use]
    pub fn busybox() -> Self {
        Self::empty().layer(busybox())
    }

    /// Puts a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        if let Some(env) = self.config["Env"].as_array_mut() {
            env.push(json!(format!("{name}={value}")));
        }
        self
    }

    /// Sets anything of the configuration: `Entrypoint`, `Cmd`, `User`, `WorkingDir`.
    #[must_use]
    pub fn config(mut self, name: &str, value: Value) -> Self {
        self.config[name] = value;
        self
    }

    /// Says that it is for another machine.
    #[must_use]
    pub fn platform(mut self, os: &str, architecture: &str) -> Self {
        self.platform = (os.into(), architecture.into());
        self
    }

    /// The image.
    #[must_use]
    pub fn build(&self) -> BuiltImage {
        let archives: Vec<_> = self.layers.iter().map(Layer::archive).collect();
        let blobs: Vec<_> = self.layers.iter().map(Layer::blob).collect();
        let diff_ids: Vec<_> = archives.iter().map(|archive| digest(archive)).collect();
        let config = json!({
            "os": self.platform.0,
            "architecture": self.platform.1,
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let layers: Vec<_> = blobs
            .iter()
            .map(|(blob, kind)| json!({ "mediaType": kind, "digest": digest(blob), "size": blob.len() }))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": digest(&config), "size": config.len() },
            "layers": layers,
        });
        BuiltImage {
            manifest: manifest.to_string().into_bytes(),
            config,
            layers: blobs.into_iter().map(|(blob, _)| blob).collect(),
            archives,
            platform: self.platform.clone(),
        }
    }
}

impl BuiltImage {
    /// The manifest's digest.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// What an index says of it.
    #[must_use]
    pub fn descriptor(&self) -> Value {
        json!({
            "mediaType": MANIFEST,
            "digest": self.digest(),
            "size": self.manifest.len(),
            "platform": { "os": self.platform.0, "architecture": self.platform.1 },
        })
    }

    /// Every blob but the manifest.
    pub fn blobs(&self) -> impl Iterator<Item = &[u8]> {
        let layers = self.layers.iter().map(Vec::as_slice);
        std::iter::once(self.config.as_slice()).chain(layers)
    }
}

/// An index of images for several platforms.
#[must_use]
pub fn index(images: &[&BuiltImage]) -> Vec<u8> {
    let manifests: Vec<_> = images.iter().map(|image| image.descriptor()).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    index.to_string().into_bytes()
}

/// Debian's static busybox under all its names. Read once.
fn busybox() -> Layer {
    static LAYER: OnceLock<Layer> = OnceLock::new();
    let make = || {
        let path = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
        let path = path.into_iter().find(|path| path.exists());
        let path = path.expect("this test needs busybox: apt-get install -y busybox-static");
        let program = std::fs::read(path).expect("busybox can be read");
        let listed = Command::new(path).arg("--list").output();
        let listed = listed.expect("busybox can be run").stdout;
        let mut layer = Layer::new();
        for (directory, mode) in [
            ("bin", 0o755),
            ("etc", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
            ("usr", 0o755),
        ] {
            layer = layer.directory(directory, mode);
        }
        layer = layer.program("bin/busybox", program);
        for name in String::from_utf8_lossy(&listed)
            .lines()
            .filter(|name| *name != "busybox")
        {
            layer = layer.symlink(&format!("bin/{name}"), "busybox");
        }
        layer
            .file(
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/:/bin/sh\n",
            )
            .file("etc/group", "root:x:0:\nwww:x:33:\n")
    };
    LAYER.get_or_init(make).clone()
}
