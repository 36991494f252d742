//! What a reference names, and where it is asked for.

use std::net::IpAddr;

use oci_client::Reference;

use super::{ImageSettings, PullPolicy};

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// As it was written.
    pub shown: String,
    pub reference: Reference,
}

/// Somewhere to ask for an image: a mirror, or the registry itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Host and port.
    pub host: String,
    pub plain_http: bool,
    pub reference: Reference,
}

impl Name {
    /// Reads a reference; Docker's short names mean `docker.io/library/…`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let reference = text.parse().map_err(|error| {
            format!("`{text}` is no image reference ({error}); write it like ubuntu:24.04 or registry.example.org/team/image:tag")
        })?;
        Ok(Self {
            shown: text.to_owned(),
            reference,
        })
    }

    /// The same for all ways to write the same name.
    pub(super) fn canonical(&self) -> String {
        self.reference.whole()
    }

    pub(super) fn digest(&self) -> Option<&str> {
        self.reference.digest()
    }

    /// When its registry is asked.
    pub(super) fn policy(&self, settings: &ImageSettings) -> PullPolicy {
        let own = settings.registries.get(self.reference.registry());
        own.and_then(|registry| registry.pull).unwrap_or(settings.pull)
    }

    /// Where to ask, in order.
    pub(super) fn places(&self, settings: &ImageSettings) -> Vec<Place> {
        let own = settings.registries.get(self.reference.registry());
        let mirrors = own
            .map(|registry| registry.mirrors.as_slice())
            .unwrap_or_default();
        let mut places: Vec<_> = mirrors
            .iter()
            .map(|mirror| self.mirrored(mirror, settings))
            .collect();
        let host = self.reference.resolve_registry().to_owned();
        places.push(Place {
            plain_http: own
                .and_then(|registry| registry.plain_http)
                .unwrap_or_else(|| is_loopback(&host)),
            reference: self.reference.clone(),
            host,
        });
        places
    }

    fn mirrored(&self, mirror: &str, settings: &ImageSettings) -> Place {
        let (scheme, rest) = match mirror.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, mirror),
        };
        let (host, prefix) = rest
            .trim_end_matches('/')
            .split_once('/')
            .unwrap_or((rest.trim_end_matches('/'), ""));
        let own = settings
            .registries
            .get(host)
            .and_then(|registry| registry.plain_http);
        let repository = match prefix {
            "" => self.reference.repository().to_owned(),
            prefix => format!("{prefix}/{}", self.reference.repository()),
        };
        let host = host.to_owned();
        let reference = match (self.reference.digest(), self.reference.tag()) {
            (Some(digest), _) => Reference::with_digest(host.clone(), repository, digest.to_owned()),
            (None, tag) => Reference::with_tag(host.clone(), repository, tag.unwrap_or("latest").to_owned()),
        };
        Place {
            plain_http: match scheme {
                Some(scheme) => scheme == "http",
                None => own.unwrap_or_else(|| is_loopback(&host)),
            },
            host,
            reference,
        }
    }
}

/// Whether a registry is on this machine, where Docker too speaks plain HTTP.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistrySettings;

    #[test]
    fn short_names_are_dockers() {
        for (written, canonical) in [
            ("ubuntu", "docker.io/library/ubuntu:latest"),
            ("ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
            ("docker.io/ubuntu:24.04", "docker.io/library/ubuntu:24.04"),
            ("team/image", "docker.io/team/image:latest"),
            ("localhost:5000/image:1", "localhost:5000/image:1"),
        ] {
            let name = Name::parse(written).expect(written);
            assert_eq!(
                (name.canonical().as_str(), name.shown.as_str()),
                (canonical, written)
            );
        }
        for bad in ["", "Ubuntu", "ubuntu:", "a b", "ubuntu@sha256:1234"] {
            let error = Name::parse(bad).expect_err(bad);
            assert!(error.contains("no image reference"), "{error}");
        }
    }

    #[test]
    fn mirrors_come_before_the_registry() {
        let mut settings = ImageSettings::default();
        let mirrors = ["http://mirror:5000", "mirror.example.org/hub/", "127.0.0.1:5001"];
        settings.registries.insert(
            "docker.io".into(),
            RegistrySettings {
                mirrors: mirrors.map(Into::into).into(),
                ..RegistrySettings::default()
            },
        );
        let places = Name::parse("ubuntu:24.04").expect("a name").places(&settings);
        let seen: Vec<_> = places
            .iter()
            .map(|place| {
                (
                    place.host.as_str(),
                    place.plain_http,
                    place.reference.repository(),
                )
            })
            .collect();
        let expected = [
            ("mirror:5000", true, "library/ubuntu"),
            ("mirror.example.org", false, "hub/library/ubuntu"),
            ("127.0.0.1:5001", true, "library/ubuntu"),
            ("index.docker.io", false, "library/ubuntu"),
        ];
        assert_eq!(seen, expected);
        let places = Name::parse("registry.example.org/x:1")
            .expect("a name")
            .places(&settings);
        assert_eq!(places.len(), 1);
        assert!(!places[0].plain_http);
    }

    #[test]
    fn only_loopback_is_plain() {
        for (host, loopback) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.2:5000", true),
            ("[::1]:5000", true),
            ("127.example.org", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(is_loopback(host), loopback, "{host}");
        }
    }
}
