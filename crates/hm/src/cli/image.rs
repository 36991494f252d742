//! The flags of `hm image`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::BackendArgs;

/// `hm image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// Whose images.
    #[command(flatten)]
    pub backend: BackendArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// What to do with the images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List the images that are kept
    Ls {
        /// Print them as JSON, one a line
        #[arg(long)]
        json: bool,
    },
    /// Fetch images from their registries, as far as they are not here
    Pull {
        /// Such as debian:13, or registry.example.org/team/image@sha256:...
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        /// The platform, such as linux/arm64, instead of this machine's
        #[arg(long)]
        platform: Option<hm_oci::Platform>,
    },
    /// Take an image from an OCI layout, a `docker save` archive or a root filesystem (a directory or a tarball)
    Import {
        /// Where it lies
        path: PathBuf,
        /// What to call it, such as team/image:1
        name: String,
        /// Its platform, where it is not this machine's
        #[arg(long)]
        platform: Option<hm_oci::Platform>,
    },
    /// Remove images that nothing uses
    Rm {
        /// A name or a digest
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
}
