//! What an image is made of: manifests, indexes and configurations, in OCI's form and in Docker's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Platform;
use hm_vm::ImageConfig;

/// Something that has a digest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    pub platform: Option<PlatformForm>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct PlatformForm {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl From<PlatformForm> for Platform {
    fn from(form: PlatformForm) -> Self {
        Self {
            os: form.os,
            architecture: form.architecture,
            variant: form.variant.filter(|variant| !variant.is_empty()),
        }
    }
}

/// What a reference may stand for.
#[derive(Debug)]
pub(super) enum Document {
    /// One image.
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
    /// One image for each of several platforms.
    Index(Vec<Descriptor>),
}

/// A layer as an image names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerForm {
    /// Of the unpacked archive: what the layer is known by here.
    pub diff_id: String,
    /// Of the packed archive; nothing where an archive names it by its place.
    pub digest: Option<String>,
    /// Of the packed archive.
    pub size: u64,
    /// Its place in an archive.
    pub member: Option<String>,
}

/// What an image's configuration says that matters here.
#[derive(Debug)]
pub(super) struct Configuration {
    pub platform: Platform,
    pub diff_ids: Vec<String>,
    pub image: ImageConfig,
}

/// Whether a digest has the one form that is understood here. It becomes part of paths.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn check_digest(text: &str) -> Result<(), String> {
    if is_digest(text) {
        return Ok(());
    }
    let text: String = text
        .chars()
        .take(100)
        .filter(|letter| !letter.is_control())
        .collect();
    Err(format!("`{text}` is no sha256 digest"))
}

impl Document {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Form {
            schema_version: u32,
            manifests: Option<Vec<Descriptor>>,
            config: Option<Descriptor>,
            layers: Option<Vec<Descriptor>>,
        }
        let form: Form =
            serde_json::from_slice(bytes).map_err(|error| format!("its manifest is malformed: {error}"))?;
        if form.schema_version != 2 {
            return Err(format!(
                "its manifest is of version {}, not 2",
                form.schema_version
            ));
        }
        let document = match (form.manifests, form.config, form.layers) {
            (Some(manifests), None, None) => Self::Index(manifests),
            (None, Some(config), Some(layers)) => Self::Image { config, layers },
            _ => return Err("its manifest is neither an image's nor an index".into()),
        };
        for descriptor in document.descriptors() {
            check_digest(&descriptor.digest)?;
        }
        Ok(document)
    }

    fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, others) = match self {
            Self::Index(manifests) => (None, manifests),
            Self::Image { config, layers } => (Some(config), layers),
        };
        config.into_iter().chain(others)
    }
}

/// The image for a platform.
pub(super) fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor, String> {
    let platform = |descriptor: &Descriptor| descriptor.platform.clone().map(Platform::from);
    let best = manifests
        .iter()
        .filter_map(|descriptor| Some((wanted.distance(&platform(descriptor)?)?, descriptor)))
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, descriptor)) = best {
        return Ok(descriptor);
    }
    // A layout with a single image often does not say what for; its configuration does.
    if let [only] = manifests
        && only.platform.is_none()
    {
        return Ok(only);
    }
    let others: Vec<_> = manifests
        .iter()
        .filter_map(platform)
        .filter(|platform| platform.os != "unknown")
        .map(|platform| platform.to_string())
        .collect();
    Err(format!(
        "there is none for {wanted}, but for {}; name a platform to have another one",
        if others.is_empty() {
            "nothing".into()
        } else {
            others.join(", ")
        }
    ))
}

/// Refuses an image for another machine.
pub(super) fn check_platform(made_for: &Platform, wanted: &Platform) -> Result<(), String> {
    // Who asks for no variant takes any.
    let any = Platform {
        variant: made_for.variant.clone(),
        ..wanted.clone()
    };
    if wanted.distance(made_for).is_some() || (wanted.variant.is_none() && any == *made_for) {
        return Ok(());
    }
    Err(format!(
        "it is made for {made_for} and not for {wanted}; ask for it with `--platform {made_for}` to have it all the same"
    ))
}

impl Configuration {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        struct Run {
            env: Option<Vec<String>>,
            entrypoint: Option<Vec<String>>,
            cmd: Option<Vec<String>>,
            user: Option<String>,
            working_dir: Option<String>,
        }
        #[derive(Deserialize)]
        struct RootFs {
            #[serde(default)]
            diff_ids: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Form {
            #[serde(default)]
            os: String,
            #[serde(default)]
            architecture: String,
            variant: Option<String>,
            config: Option<Run>,
            rootfs: RootFs,
        }
        let form: Form = serde_json::from_slice(bytes)
            .map_err(|error| format!("its configuration is malformed: {error}"))?;
        for diff_id in &form.rootfs.diff_ids {
            check_digest(diff_id)?;
        }
        let run = form.config.unwrap_or_default();
        let variables = run.env.unwrap_or_default();
        let env = variables
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .filter(|(name, value)| !name.is_empty() && !name.contains('\0') && !value.contains('\0'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Self {
            platform: PlatformForm {
                os: form.os,
                architecture: form.architecture,
                variant: form.variant,
            }
            .into(),
            diff_ids: form.rootfs.diff_ids,
            image: ImageConfig {
                env: env.collect(),
                entrypoint: run.entrypoint.unwrap_or_default(),
                cmd: run.cmd.unwrap_or_default(),
                user: said(run.user),
                working_dir: said(run.working_dir),
            },
        })
    }
}

/// What the layers of an image are, by its manifest and its configuration.
pub(super) fn layers(layers: &[Descriptor], configuration: &Configuration) -> Result<Vec<LayerForm>, String> {
    for (number, layer) in layers.iter().enumerate() {
        let kind = layer.media_type.as_str();
        let archive = [".tar", ".tar.gzip", ".tar+gzip", ".tar.zstd", ".tar+zstd"];
        if !archive.iter().any(|end| kind.ends_with(end)) {
            let kind: String = kind
                .chars()
                .take(100)
                .filter(|letter| !letter.is_control())
                .collect();
            return Err(format!("its layer {number} is no file system but `{kind}`"));
        }
    }
    if layers.len() != configuration.diff_ids.len() {
        return Err(format!(
            "it has {} layers and its configuration tells of {}",
            layers.len(),
            configuration.diff_ids.len()
        ));
    }
    let both = layers.iter().zip(&configuration.diff_ids);
    Ok(both
        .map(|(layer, diff_id)| LayerForm {
            diff_id: diff_id.clone(),
            digest: Some(layer.digest.clone()),
            size: layer.size,
            member: None,
        })
        .collect())
}
