//! What people may write into names.

use super::{ApiError, ApiResult};

/// The longest name, in characters.
const NAME: usize = 255;

/// A short text on one line, trimmed, not empty.
pub(super) fn line(field: &str, text: &str) -> ApiResult<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ApiError::invalid(
            "invalid_request",
            format!("`{field}` is empty."),
        ));
    }
    if text.chars().count() > NAME {
        let message = format!("`{field}` is longer than {NAME} characters.");
        return Err(ApiError::invalid("invalid_request", message));
    }
    if text.chars().any(char::is_control) {
        let message = format!("`{field}` holds a line break or another control character.");
        return Err(ApiError::invalid("invalid_request", message));
    }
    Ok(text.to_owned())
}

/// As much of a text as a name may have. Git takes longer ones.
pub(super) fn cut(text: &str) -> &str {
    let text = text.trim();
    let end = text.char_indices().nth(NAME).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or(text)
}

/// A short text that may be absent or empty.
pub(super) fn maybe_line(field: &str, text: Option<&str>) -> ApiResult<Option<String>> {
    match text.map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => line(field, text).map(Some),
    }
}

/// A longer text; a database takes no NUL.
pub(super) fn prose(field: &str, text: &str, most: usize) -> ApiResult<String> {
    if text.len() > most {
        let message = format!("`{field}` is longer than {most} bytes.");
        return Err(ApiError::invalid("invalid_request", message));
    }
    if text.contains('\0') {
        let message = format!("`{field}` holds a NUL character.");
        return Err(ApiError::invalid("invalid_request", message));
    }
    Ok(text.to_owned())
}

/// What an organization cannot be called: the first parts of this server's paths, now or one day.
const RESERVED: [&str; 27] = [
    "about",
    "admin",
    "agent",
    "agents",
    "api",
    "assets",
    "builds",
    "cli",
    "cli-login",
    "docs",
    "favicon-ico",
    "health",
    "help",
    "hm",
    "login",
    "logout",
    "metrics",
    "new",
    "organizations",
    "robots-txt",
    "settings",
    "signup",
    "static",
    "status",
    "user",
    "v0",
    "v1",
];

/// Whether an organization can have this slug.
pub(crate) fn names_organization(text: &str) -> bool {
    slug("org", text).is_ok_and(|slug| slug == text) && !RESERVED.contains(&text)
}

/// What stands for a name in a URL: lower-case letters, digits and single dashes.
pub(super) fn slug(field: &str, name: &str) -> ApiResult<String> {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() == 63 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        let message = format!("`{field}` has no letter or digit that could stand in a URL.");
        return Err(ApiError::invalid("invalid_request", message));
    }
    Ok(slug.to_owned())
}

/// An email address, in lower case. Whether somebody reads it only a mail would tell.
pub(super) fn email(text: &str) -> ApiResult<String> {
    let text = line("email", text)?.to_lowercase();
    match text.split_once('@') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() && !text.contains(' ') => Ok(text),
        _ => Err(ApiError::invalid("invalid_email", "`email` is no email address.")),
    }
}

/// `owner/repo` of a clone URL.
pub(super) fn repo_name(repository: &str) -> Option<String> {
    let path = repository.trim_end_matches('/').trim_end_matches(".git");
    let mut parts = path.rsplit(['/', ':']);
    let (repo, owner) = (parts.next()?, parts.next()?);
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    (plain(repo) && plain(owner)).then(|| format!("{owner}/{repo}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_stand_in_urls() {
        assert_eq!(slug("name", " My  Pipeline! ").unwrap(), "my-pipeline");
        assert_eq!(slug("name", &"a-".repeat(100)).unwrap().len(), 63);
        assert!(slug("name", "…").is_err());
    }

    #[test]
    fn clone_urls_name_their_repository() {
        for url in [
            "https://example.com/acme/app.git",
            "git@example.com:acme/app.git",
            "https://example.com/acme/app/",
            "acme/app",
        ] {
            assert_eq!(repo_name(url).as_deref(), Some("acme/app"), "{url}");
        }
        assert_eq!(repo_name("app"), None);
        assert_eq!(repo_name(""), None);
    }
}
