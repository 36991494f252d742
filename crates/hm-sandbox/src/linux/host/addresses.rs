//! Lists of addresses in variables: proxies, mirrors, registries.

/// Whether addresses hold a password or a token.
pub(super) fn is_secret(addresses: &str) -> bool {
    authorities(addresses).any(|authority| authority.contains('@')) || addresses.contains('?')
}

/// Whether one of them is this machine's own.
pub(super) fn is_loopback(addresses: &str) -> bool {
    authorities(addresses).any(|authority| {
        let host = authority.rsplit('@').next().unwrap_or_default();
        host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]")
    })
}

/// The part of each address between `//` and the path. An address without `//` is one of a proxy.
fn authorities(addresses: &str) -> impl Iterator<Item = &str> {
    let single =
        addresses.split(|character: char| character.is_whitespace() || matches!(character, ',' | '|'));
    single.map(|address| {
        let authority = address.split_once("://").map_or(address, |(_, rest)| rest);
        authority.split('/').next().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_credentials_or_on_loopback_stay_out() {
        for (addresses, secret, loopback) in [
            ("https://mirror.example.org/simple", false, false),
            ("https://me:pass@mirror.example.org/simple", true, false),
            ("https://a.example.org https://token@b.example.org/x", true, false),
            ("https://a.example.org,direct", false, false),
            ("https://a.example.org/simple?token=1", true, false),
            ("http://127.0.0.1:3141/root", false, true),
            ("localhost:3128", false, true),
            ("proxy.example.org:3128", false, false),
            ("me:pass@proxy.example.org:3128", true, false),
            ("https://mirror.example.org/@scope/", false, false),
        ] {
            assert_eq!(is_secret(addresses), secret, "{addresses}");
            assert_eq!(is_loopback(addresses), loopback, "{addresses}");
        }
    }
}
