//! Source archives that lie on somebody else's server: whoever submits a build names the URL, and an agent fetches it from where
//! the agent is. So it is fetched from hosts alone that the agent's owner has named, and from no address of its own network
//! that the owner has not.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};

use crate::client::{CONNECT, SILENCE};

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// From where source archives may be fetched: hosts by name, and networks by address. Empty by default: from nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceHosts {
    names: Vec<String>,
    networks: Vec<IpNet>,
}

impl SourceHosts {
    /// Each is a host's name, such as `sources.example.org`, an address, or a network, such as `10.1.0.0/16`. A name stands for
    /// public addresses alone; those of a private network are named themselves.
    #[must_use]
    pub fn new<'a>(allowed: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hosts = Self::default();
        for text in allowed {
            let text = text.trim().trim_matches(['[', ']']);
            if let Ok(network) = text.parse() {
                hosts.networks.push(network);
            } else if let Ok(address) = text.parse::<IpAddr>() {
                hosts.networks.push(address.into());
            } else {
                hosts.names.push(text.trim_end_matches('.').to_lowercase());
            }
        }
        hosts
    }

    fn has(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether something may be fetched there; what its name resolves to is looked at when that is known.
    fn allows(&self, url: &Url) -> Result<(), String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{}` is neither http nor https", url.scheme()));
        }
        let host = url.host_str().unwrap_or_default();
        let allowed = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => self.has(address),
            Err(_) => self.names.iter().any(|name| host.eq_ignore_ascii_case(name)),
        };
        if allowed {
            return Ok(());
        }
        Err(format!(
            "this agent fetches no sources from `{host}`; `hm agent --source-host {host}` allows it"
        ))
    }

    /// A client that goes nowhere else, not by a redirect and not by a name that resolves to another network.
    pub(crate) fn client(&self, first: &Url) -> Result<Client, String> {
        self.allows(first)?;
        let hosts = Arc::new(self.clone());
        let redirects = Arc::clone(&hosts);
        let policy = Policy::custom(move |attempt: Attempt<'_>| {
            if attempt.previous().len() > REDIRECTS {
                return attempt.error("it redirects again and again");
            }
            match redirects.allows(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(why) => attempt.error(why),
            }
        });
        Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .redirect(policy)
            // A proxy would resolve names by itself.
            .no_proxy()
            .dns_resolver(Arc::new(Resolver(hosts)))
            .build()
            .map_err(|error| error.to_string())
    }
}

/// Whether an address is of the machine itself, or of a network that not everybody can reach.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
                || address.is_multicast()
                || a == 0
                || (a == 100 && b & 0xc0 == 64)
                || (a == 198 && b & 0xfe == 18)
        }
        IpAddr::V6(address) => {
            if let Some(mapped) = address.to_ipv4_mapped() {
                return is_private(mapped.into());
            }
            let [a, b, ..] = address.octets();
            // A translated address is one of the network that translates it.
            let is_translated = address.octets().starts_with(&[0, 0x64, 0xff, 0x9b]);
            address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || is_translated
                || a & 0xfe == 0xfc
                || (a == 0xfe && b & 0xc0 == 0x80)
        }
    }
}

/// The system's resolver, without what it says of private networks.
struct Resolver(Arc<SourceHosts>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let hosts = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found
                .filter(|found| !is_private(found.ip()) || hosts.has(found.ip()))
                .collect();
            if allowed.is_empty() {
                let name = name.as_str();
                return Err(format!(
                    "`{name}` has no address but of a private network; `hm agent --source-host ADDRESS` allows that"
                )
                .into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(hosts: &[&str], url: &str) -> bool {
        let url = url.parse().expect("a URL");
        SourceHosts::new(hosts.iter().copied()).allows(&url).is_ok()
    }

    #[test]
    fn host_is_allowed_by_name_address_or_network_and_never_by_default() {
        assert!(!allows(&[], "https://example.org/a"));
        assert!(allows(&["Example.org."], "https://EXAMPLE.org/a"));
        assert!(!allows(&["example.org"], "https://sub.example.org/a"));
        assert!(!allows(&["example.org"], "ftp://example.org/a"));
        assert!(allows(&["10.1.0.0/16"], "http://10.1.2.3/a"));
        assert!(!allows(&["10.1.0.0/16"], "http://10.2.2.3/a"));
        // Other ways to write the loopback.
        for url in [
            "http://127.1/a",
            "http://2130706433/a",
            "http://[::1]/a",
            "http://0x7f.1/a",
        ] {
            assert!(!allows(&["example.org"], url), "{url}");
        }
        assert!(allows(&["::1"], "http://[::1]:80/a"));
    }

    #[test]
    fn address_of_a_private_network_is_known_in_each_of_its_forms() {
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            assert!(is_private(address.parse().expect("an address")), "{address}");
        }
        for address in ["1.1.1.1", "100.128.0.1", "2606:4700::1111"] {
            assert!(!is_private(address.parse().expect("an address")), "{address}");
        }
    }
}
