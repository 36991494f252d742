//! `hm config`.

use super::table;
use crate::cli::ConfigCommand;
use crate::config::{IMAGES, Origin, REGISTRIES, REGISTRY_SETTINGS, SECRETS, SETTINGS};
use crate::context::Context;
use crate::fail::{Failure, Result};
use crate::{env_vars, exit, secrets};

/// Tells about the configuration.
///
/// # Errors
/// When a value makes no sense, or the output cannot be written.
pub fn config(context: &Context, command: &ConfigCommand) -> Result<u8> {
    let text = match command {
        ConfigCommand::Show { origin } => show(context, *origin)?,
        ConfigCommand::Reference => reference(),
    };
    context.printer.data(&text).map_err(Failure::Output)?;
    context.config()?;
    Ok(exit::PASSED)
}

/// Every setting, and who set it.
fn show(context: &Context, origin: bool) -> Result<String> {
    let row = |key: String, value: String, from: &Origin| {
        let mut row = vec![key, value];
        if origin {
            row.push(from.to_string());
        }
        row
    };
    let mut rows = Vec::new();
    for setting in SETTINGS {
        let key = setting.key.to_owned();
        rows.push(match context.layers.get(setting.key) {
            Some((value, from)) => row(key, value.to_owned(), from),
            None => row(key, format!("({})", setting.default), &Origin::Default),
        });
    }
    for (name, target, from) in context.layers.images() {
        rows.push(row(format!("{IMAGES}.\"{name}\""), target.to_owned(), from));
    }
    for (registry, key, value, from) in context.layers.registries() {
        rows.push(row(
            format!("{REGISTRIES}.\"{registry}\".{key}"),
            value.to_owned(),
            from,
        ));
    }
    let local = match context.maybe_root() {
        Some(root) => secrets::local_names(root)?,
        None => Vec::new(),
    };
    for (name, source, from) in context.layers.secrets() {
        if !local.iter().any(|local| local == name) {
            rows.push(row(format!("{SECRETS}.{name}"), source.to_string(), from));
        }
    }
    if let Some(root) = context.maybe_root() {
        let from = Origin::File(secrets::local_file(root));
        for name in local {
            rows.push(row(format!("{SECRETS}.{name}"), "(a value)".to_owned(), &from));
        }
    }
    Ok(table::columns(&rows))
}

/// The page `docs/configuration.md`.
fn reference() -> String {
    let mut text = String::from(REFERENCE_HEAD);
    for setting in SETTINGS {
        let row = format!(
            "| `{}` | `{}` | {} | {} |\n",
            setting.key, setting.env, setting.default, setting.help
        );
        text.push_str(&row);
    }
    text.push_str(&format!(
        "| `[{IMAGES}]` | `{}` | none | What stands in for an image: `\"ubuntu:24.04\" = \"host\"`; \
         in the variable `NAME=WHAT`, separated by commas. `./rootfs.tar` is seen from the \
         repository's root, in `--image` from the current directory. |\n",
        env_vars::HM_IMAGES
    ));
    for setting in REGISTRY_SETTINGS {
        text.push_str(&format!(
            "| `[{REGISTRIES}.\"HOST:PORT\"]` `{}` | `{}` | {} | {}; {}. |\n",
            setting.key, setting.env, setting.default, setting.help, setting.env_form
        ));
    }
    text.push_str(&format!(
        "| none | `{}` | what `hm cloud login` has kept | The token for the server; in no configuration file. |\n",
        env_vars::HM_API_TOKEN
    ));
    text.push_str(&format!(
        "| `[{SECRETS}]` | none | none | Where the value of a secret is to be had: `TOKEN = \"env:GITHUB_TOKEN\"` or \
         `\"file:~/.token\"`, never the value itself. `--secret` goes over it, and so does `.hm/secrets.toml`, whose \
         `TOKEN = \"value\"` git has to ignore. |\n"
    ));
    text
}

const REFERENCE_HEAD: &str = "\
# Configuration

From the weakest to the strongest: the defaults, the user's file (`$XDG_CONFIG_HOME/hm/config.toml`, or
`~/.config/hm/config.toml`), the repository's `.hm/config.toml`, the environment, the flags.
`hm config show --origin` prints every setting and who set it. This page is `hm config reference`.

| key | variable | default | meaning |
|---|---|---|---|
";
