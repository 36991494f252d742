//! Which paths of `/workspace` the patterns of an [`crate::Export`] mean: the same on every backend.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::{Export, Exported, ExportedFile, Result, VmError};

/// How many files that were left out are named one by one.
const NAMED: usize = 1000;

/// Compiled patterns.
#[derive(Debug)]
pub struct Patterns {
    globs: GlobSet,
    /// The directory that each pattern names without a wildcard, before which nothing can match.
    prefixes: Vec<String>,
}

impl Patterns {
    /// Compiles them.
    ///
    /// # Errors
    /// When one is no glob, or leads out of `/workspace`.
    pub fn compile(patterns: &[String]) -> Result<Self> {
        let mut globs = GlobSetBuilder::new();
        let mut prefixes = Vec::new();
        for pattern in patterns {
            let refused = |reason: &str| {
                VmError::Other(format!(
                    "`{pattern}` is no pattern of files in /workspace: {reason}"
                ))
            };
            if pattern.starts_with('/') {
                return Err(refused("it must be relative"));
            }
            if pattern.split('/').any(|part| part == "..") {
                return Err(refused("it leads out of it"));
            }
            let parts: Vec<_> = pattern
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .collect();
            let plain = |part: &&&str| !part.contains(['*', '?', '[', '{', '\\']);
            prefixes.push(
                parts
                    .iter()
                    .take_while(plain)
                    .copied()
                    .collect::<Vec<_>>()
                    .join("/"),
            );
            // `.` is all of it.
            let glob = if parts.is_empty() {
                "**".to_owned()
            } else {
                parts.join("/")
            };
            let compiled = GlobBuilder::new(&glob)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| refused(&error.kind().to_string()))?;
            globs.add(compiled);
        }
        let globs = globs
            .build()
            .map_err(|error| VmError::Other(format!("the patterns of files are too many: {error}")))?;
        Ok(Self { globs, prefixes })
    }

    /// Whether a path, relative to `/workspace`, matches by itself. What lies below a directory that matches is meant
    /// too.
    pub fn matches(&self, path: &Path) -> bool {
        self.globs.is_match(path)
    }

    /// Whether a path or one of the directories above it matches.
    pub fn take(&self, path: &Path) -> bool {
        path.ancestors()
            .filter(|path| !path.as_os_str().is_empty())
            .any(|path| self.matches(path))
    }

    /// The directory that each pattern names without a wildcard, before which nothing can match.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// Whether something below a directory that does not match itself can match: whoever walks need not enter others.
    pub fn may_match_below(&self, directory: &Path) -> bool {
        self.prefixes.iter().any(|prefix| {
            let prefix = Path::new(prefix);
            prefix.starts_with(directory) || directory.starts_with(prefix)
        })
    }
}

/// What may be copied out yet. Files are offered in the order of their paths.
#[derive(Debug)]
pub struct Budget {
    bytes: u64,
    files: u64,
    unnamed: u64,
    exported: Exported,
}

impl Budget {
    /// The bounds of an export, with nothing taken yet.
    #[must_use]
    pub fn new(what: &Export) -> Self {
        Self {
            bytes: what.max_bytes,
            files: what.max_files,
            unnamed: 0,
            exported: Exported::default(),
        }
    }

    /// Whether a regular file of this size is to be copied; it counts as copied then.
    pub fn admit(&mut self, path: &Path, bytes: u64) -> bool {
        if self.files == 0 {
            self.leave_out(path, "there are more files than are kept");
        } else if bytes > self.bytes {
            self.leave_out(
                path,
                &format!("it has {bytes} bytes, and only {} more are kept", self.bytes),
            );
        } else {
            self.files -= 1;
            self.bytes -= bytes;
            self.exported.files.push(ExportedFile {
                path: path.to_owned(),
                bytes,
            });
            return true;
        }
        false
    }

    /// Names something that is not copied, with why.
    pub fn leave_out(&mut self, path: &Path, reason: &str) {
        if self.exported.left_out.len() < NAMED {
            self.exported.left_out.push((path.to_owned(), reason.to_owned()));
        } else {
            self.unnamed += 1;
        }
    }

    /// What came of it.
    pub fn finish(mut self) -> Exported {
        if self.unnamed > 0 {
            let reason = format!("{} more files were left out", self.unnamed);
            self.exported.left_out.push((PathBuf::from("."), reason));
        }
        self.exported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, path: &str) -> bool {
        Patterns::compile(&[pattern.to_owned()])
            .expect("a pattern")
            .take(Path::new(path))
    }

    #[test]
    fn a_pattern_takes_what_it_says() {
        for (pattern, path, expected) in [
            ("report.xml", "report.xml", true),
            ("./report.xml", "report.xml", true),
            ("report.xml", "sub/report.xml", false),
            ("*.xml", "a.xml", true),
            ("*.xml", ".hidden.xml", true),
            ("*.xml", "sub/a.xml", false),
            ("**/*.xml", "a.xml", true),
            ("**/*.xml", "a/b/c.xml", true),
            ("target/**/out", "target/a/b/out/file", true),
            ("report", "report/deep/er", true),
            ("report/", "report/deep/er", true),
            ("rep*", "report/deep/er", true),
            (".", "anything/at/all", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("{a,b}/c", "b/c", true),
            ("one\ntwo", "one\ntwo", true),
            ("o*o", "one\ntwo", true),
        ] {
            assert_eq!(takes(pattern, path), expected, "{pattern:?} {path:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in ["/etc/passwd", "../x", "a/../../b", "a[", "{a"] {
            assert!(Patterns::compile(&[pattern.to_owned()]).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_walk_stays_where_something_can_match() {
        let patterns = Patterns::compile(&["target/*/report/*.xml".into(), "out".into()]).expect("patterns");
        for (directory, expected) in [
            ("target", true),
            ("target/debug/deep", true),
            ("out", true),
            ("src", false),
            ("tar", false),
        ] {
            assert_eq!(
                patterns.may_match_below(Path::new(directory)),
                expected,
                "{directory}"
            );
        }
    }
}
