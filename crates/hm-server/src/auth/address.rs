//! From where somebody asks, behind the proxies that are trusted to say so.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;
use axum::http::header::FORWARDED;
use ipnet::IpNet;

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The address that a request comes from, as its connection and its headers tell.
pub(crate) fn of(request: &Request, trusted: &[IpNet]) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    client(peer, request.headers(), trusted)
}

/// The address that a request comes from. What it says of that itself is believed from trusted proxies alone, and of
/// them only to the first address that is none: what stands behind that anybody may have written.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    if !is_trusted(peer) {
        return peer;
    }
    let found = |hops: Vec<Option<IpAddr>>| {
        let mut nearest = peer;
        for hop in hops.into_iter().rev() {
            let Some(address) = hop else { break };
            nearest = address;
            if !is_trusted(address) {
                break;
            }
        }
        nearest
    };
    let told = [
        hops(headers, X_FORWARDED_FOR, address),
        hops(headers, FORWARDED.as_str(), |hop| address(for_of(hop)?)),
    ];
    match told.map(|hops| (!hops.is_empty()).then(|| found(hops))) {
        [Some(one), None] | [None, Some(one)] => one,
        [Some(one), Some(other)] if one == other => one,
        // A proxy writes one of the two. Which, it does not say, and the other one may be the client's.
        _ => peer,
    }
}

fn hops(headers: &HeaderMap, name: &str, parse: impl Fn(&str) -> Option<IpAddr>) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| line.to_str().unwrap_or("?").split(','))
        .map(|hop| parse(hop.trim()))
        .collect()
}

/// The value of `for` in an element of `Forwarded` (RFC 7239).
fn for_of(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut found = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    found.next().map(|(_, value)| value.trim().trim_matches('"'))
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let with_port = || text.parse().map(|address: SocketAddr| address.ip());
    let parsed = bare.parse().or_else(|_| with_port()).ok();
    parsed.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        client(peer.parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_nobody_else() {
        let said = [("x-forwarded-for", "192.0.2.1")];
        assert_eq!(asked("10.1.2.3", &said), "192.0.2.1");
        assert_eq!(asked("::ffff:10.1.2.3", &said), "192.0.2.1");
        assert_eq!(asked("fd00::1", &said), "192.0.2.1");
        for stranger in ["198.51.100.7", "11.0.0.1", "fe80::1"] {
            assert_eq!(asked(stranger, &said), stranger);
            assert_eq!(asked(stranger, &[("forwarded", "for=192.0.2.1")]), stranger);
        }
        assert_eq!(asked("10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn what_a_client_wrote_before_its_proxy_is_not_believed() {
        for (name, said, found) in [
            ("x-forwarded-for", "203.0.113.9, 192.0.2.1", "192.0.2.1"),
            ("x-forwarded-for", "10.9.9.9, 192.0.2.1, 10.0.0.1", "192.0.2.1"),
            ("x-forwarded-for", "203.0.113.9,nonsense, 10.0.0.1", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2, 10.0.0.1", "10.0.0.2"),
            ("x-forwarded-for", "", "10.1.2.3"),
            ("x-forwarded-for", "2001:db8::1", "2001:db8::1"),
            ("x-forwarded-for", "[2001:db8::1]:80", "2001:db8::1"),
            ("x-forwarded-for", "192.0.2.1:4711", "192.0.2.1"),
            (
                "forwarded",
                "for=203.0.113.9, for=192.0.2.1;proto=https",
                "192.0.2.1",
            ),
            (
                "forwarded",
                "proto=https; For=\"[2001:db8::1]:4711\"",
                "2001:db8::1",
            ),
            ("forwarded", "for=\"203.0.113.9, for=192.0.2.1", "192.0.2.1"),
            ("forwarded", "for=203.0.113.9, for=_hidden", "10.1.2.3"),
            ("forwarded", "for=203.0.113.9, proto=https", "10.1.2.3"),
        ] {
            assert_eq!(asked("10.1.2.3", &[(name, said)]), found, "{name}: {said}");
        }
        let lines = [
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        assert_eq!(asked("10.1.2.3", &lines), "192.0.2.1");
        let both = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=192.0.2.1")];
        assert_eq!(asked("10.1.2.3", &both), "10.1.2.3");
    }
}
