//! `hm image`: the images that a backend keeps.

use std::sync::Arc;
use std::time::SystemTime;

use hm_vm::{ImageReference, Images, StoredImage, VmBackend, VmError};

use super::table;
use crate::backend::Machines;
use crate::cli::{ImageArgs, ImageCommand};
use crate::config::Origin;
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// How much of a digest tells images apart for people.
const SHORT_DIGEST: usize = "sha256:".len() + 12;

/// Looks at the images, fetches some, or removes some.
///
/// # Errors
/// When the backend cannot do it, or the output cannot be written.
pub fn image(mut context: Context, args: &ImageArgs) -> Result<u8> {
    context.take_backend_flag(&args.backend);
    if let ImageCommand::Pull { platform, .. } | ImageCommand::Import { platform, .. } = &args.command
        && let Some(platform) = platform
    {
        let origin = Origin::Flag("--platform");
        context.layers.set("image.platform", platform.to_string(), origin);
    }
    if let ImageCommand::Pull { .. } = &args.command {
        // Who asks for it means it.
        context.layers.set("image.pull", "always", Origin::Flag("pull"));
    }
    let config = context.config()?;
    let vm = Machines::new(&context, &config)?.vm();
    let runtime = super::runtime()?;
    let done = runtime.block_on(act(&context, &vm, &args.command));
    runtime.shutdown_background();
    let text = done?;
    context.printer.data(&text).map_err(Failure::Output)?;
    Ok(exit::PASSED)
}

async fn act(context: &Context, vm: &Arc<dyn VmBackend>, command: &ImageCommand) -> Result<String> {
    vm.ready().await?;
    let images = images(vm.as_ref())?;
    let text = match command {
        ImageCommand::Ls { json } => {
            let mut stored = images.list().await?;
            stored.sort_by(|left, right| left.references.cmp(&right.references));
            if *json {
                as_json(&stored)?
            } else {
                as_table(&stored)
            }
        }
        ImageCommand::Pull { images: wanted, .. } => {
            let mut text = String::new();
            for image in wanted {
                let image = ImageReference::new(image);
                let resolved = images.pull(&image).await?;
                text.push_str(&format!("{image} {}\n", resolved.digest));
            }
            text
        }
        ImageCommand::Import { path, name, .. } => {
            let path = context.environment.cwd.join(path);
            let resolved = images.import(&path, &ImageReference::new(name)).await?;
            format!("{name} {}\n", resolved.digest)
        }
        ImageCommand::Rm { images: unwanted } => {
            let mut text = String::new();
            for image in unwanted {
                let freed = images.remove(image).await?;
                text.push_str(&format!("removed {image}, {} freed\n", table::size(freed)));
            }
            text
        }
    };
    Ok(text)
}

/// The images of a backend that keeps any.
///
/// # Errors
/// When it keeps none.
pub fn images(vm: &dyn VmBackend) -> Result<&dyn Images> {
    vm.images().ok_or_else(|| {
        Failure::Vm(VmError::Unsupported {
            what: "a store of images".into(),
            reason: format!("the backend {} has none", vm.name()),
        })
    })
}

fn as_table(stored: &[StoredImage]) -> String {
    if stored.is_empty() {
        return String::new();
    }
    let mut rows = vec![
        ["IMAGE", "DIGEST", "PLATFORM", "LAYERS", "SIZE", "LAST USED"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for image in stored {
        let digest = image.digest.get(..SHORT_DIGEST).unwrap_or(&image.digest);
        // An image of many names has a row for each.
        let nameless = ["-".to_owned()];
        let names = if image.references.is_empty() {
            &nameless[..]
        } else {
            &image.references
        };
        rows.extend(names.iter().map(|name| {
            vec![
                name.clone(),
                digest.to_owned(),
                image.platform.clone(),
                image.layers.to_string(),
                table::size(image.bytes),
                image.used.map_or_else(|| "-".into(), table::when),
            ]
        }));
    }
    table::columns(&rows)
}

fn as_json(stored: &[StoredImage]) -> Result<String> {
    let mut text = String::new();
    for image in stored {
        let time = |time: SystemTime| chrono::DateTime::<chrono::Utc>::from(time);
        let line = serde_json::json!({
            "references": image.references,
            "digest": image.digest,
            "platform": image.platform,
            "layers": image.layers,
            "bytes": image.bytes,
            "last_used": image.used.map(time),
        });
        text.push_str(&serde_json::to_string(&line).map_err(|error| Failure::Output(error.into()))?);
        text.push('\n');
    }
    Ok(text)
}
