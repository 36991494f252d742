//! How a build runs, as it is asked for.

use harmont_client::models::BuildOptions;
use serde_json::Value;

use super::{ApiError, ApiResult};

/// The most images, and steps that count as done.
const ENTRIES: usize = 10_000;
/// The longest name of an image, a step or a snapshot.
const NAME: usize = 1000;

fn bad(message: impl std::fmt::Display) -> ApiError {
    ApiError::invalid("bad_options", format!("`run_options`: {message}."))
}

/// Whether an agent looks it up by its name, and nowhere else on its machine.
fn is_plain(image: &str) -> bool {
    !image.is_empty() && !image.starts_with(['/', '.']) && !image.chars().any(char::is_control)
}

/// Whether it is a snapshot's name and can be no path.
fn is_snapshot(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(plain)
}

/// Options that this server knows and that make sense. One that it does not know is refused: the build would run
/// otherwise than it was asked to.
pub(super) fn parse(options: Value) -> ApiResult<BuildOptions> {
    let options: BuildOptions = serde_json::from_value(options).map_err(bad)?;
    if options.only.is_some() && options.from.is_some() {
        return Err(bad("`only` and `from` exclude each other"));
    }
    if options.images.len() > ENTRIES || options.done.len() > ENTRIES {
        return Err(bad(format!("`images` or `done` has more than {ENTRIES} entries")));
    }
    let pairs = options.images.iter().chain(&options.done);
    let texts = pairs.flat_map(|(name, value)| [name, value]);
    if texts
        .chain(&options.only)
        .chain(&options.from)
        .chain(&options.tag)
        .any(|text| text.is_empty() || text.len() > NAME || text.contains('\0'))
    {
        return Err(bad(format!(
            "a name of a step, an image or a snapshot is empty, longer than {NAME} bytes, or holds NUL"
        )));
    }
    if let Some(image) = options.images.values().find(|image| !is_plain(image)) {
        return Err(bad(format!(
            "`{image}` in `images` is no image's name; a path is of another machine than the agent's"
        )));
    }
    if let Some(snapshot) = options.done.values().find(|name| !is_snapshot(name)) {
        return Err(bad(format!("`{snapshot}` in `done` is no snapshot's name")));
    }
    Ok(options)
}
