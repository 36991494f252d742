//! `hm config show`.

use super::table;
use crate::cli::ConfigCommand;
use crate::config::{IMAGES, SETTINGS};
use crate::context::Context;
use crate::exit;
use crate::fail::{Failure, Result};

/// Prints every setting, and who set it.
///
/// # Errors
/// When a value makes no sense, or the output cannot be written.
pub fn config(context: &Context, command: &ConfigCommand) -> Result<u8> {
    let ConfigCommand::Show { origin } = command;
    let mut rows = Vec::new();
    for setting in SETTINGS {
        let (value, from) = match context.layers.get(setting.key) {
            Some((value, from)) => (value.to_owned(), from.to_string()),
            None => (format!("({})", setting.default), "default".to_owned()),
        };
        rows.push(row(setting.key.to_owned(), value, from, *origin));
    }
    for (name, target, from) in context.layers.images() {
        rows.push(row(
            format!("{IMAGES}.\"{name}\""),
            target.to_owned(),
            from.to_string(),
            *origin,
        ));
    }
    context
        .printer
        .data(&table::columns(&rows))
        .map_err(Failure::Output)?;
    context.config()?;
    Ok(exit::PASSED)
}

fn row(key: String, value: String, from: String, origin: bool) -> Vec<String> {
    let mut row = vec![key, value];
    if origin {
        row.push(from);
    }
    row
}
