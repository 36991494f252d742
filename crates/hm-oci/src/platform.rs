//! Which machine an image is made for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and a processor, in the words of OCI: `linux/amd64`, `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `v7`, where processors of one name differ.
    pub variant: Option<String>,
}

impl Platform {
    /// This machine's.
    #[must_use]
    pub fn this_machine() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => (
                if cfg!(target_endian = "little") {
                    "ppc64le"
                } else {
                    "ppc64"
                },
                None,
            ),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.map(Into::into),
        }
    }

    /// Whether what is made for `other` runs on this: the smaller, the better. Processors of one name run what
    /// was made for an older variant.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Option<u32> {
        if self.os != other.os || self.architecture != other.architecture {
            return None;
        }
        let version = |platform: &Self| -> Option<u32> {
            let fallback = if platform.architecture == "arm64" {
                "v8"
            } else {
                "v1"
            };
            let variant = platform.variant.as_deref().filter(|variant| !variant.is_empty());
            variant.unwrap_or(fallback).strip_prefix('v')?.parse().ok()
        };
        match (version(self), version(other)) {
            (Some(ours), Some(theirs)) => match self.variant {
                Some(_) => ours.checked_sub(theirs),
                // Nobody said which variant: the oldest runs everywhere.
                None => Some(theirs),
            },
            _ => (self.variant == other.variant).then_some(0),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None)
                if ![Some(os), Some(architecture), variant].contains(&Some("")) =>
            {
                Ok(Self {
                    os: os.into(),
                    architecture: architecture.into(),
                    variant: variant.map(Into::into),
                })
            }
            _ => Err(format!(
                "`{text}` is no platform: write it like linux/amd64 or linux/arm/v7"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().expect(text)
    }

    #[test]
    fn a_platform_is_read_as_it_is_written() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(platform(text).to_string(), text);
        }
        for text in ["", "linux", "linux/", "linux/arm/", "linux/arm/v7/more"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_nearest_variant_that_runs_is_the_best() {
        let distance = |ours: &str, theirs: &str| platform(ours).distance(&platform(theirs));
        assert_eq!(distance("linux/amd64", "linux/arm64"), None);
        assert_eq!(distance("linux/amd64", "windows/amd64"), None);
        assert_eq!(distance("linux/arm/v7", "linux/arm/v7"), Some(0));
        assert_eq!(distance("linux/arm/v7", "linux/arm/v6"), Some(1));
        assert_eq!(distance("linux/arm/v6", "linux/arm/v7"), None);
        assert!(distance("linux/amd64", "linux/amd64") < distance("linux/amd64", "linux/amd64/v3"));
        assert_eq!(distance("linux/arm64/v8", "linux/arm64"), Some(0));
    }
}
