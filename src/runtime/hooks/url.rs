//! Where webhooks may lead: HTTP, and to addresses that are everybody's unless told otherwise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

/// An address that a webhook may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// Reads an `http` or `https` URL with a host and without a user.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // A browser would read over these, and ask something else than it seems to.
        if text.contains(|sign: char| sign.is_whitespace() || sign.is_control()) {
            return None;
        }
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return None;
        }
        let url = Url::parse(text).ok()?;
        let is_plain = url.username().is_empty() && url.password().is_none();
        (url.has_host() && is_plain).then_some(Self(url))
    }

    /// The URL as it was understood.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL itself, to be asked.
    pub(super) fn into_url(self) -> Url {
        self.0
    }

    /// Whether the host is an address, and one of a private network. Of a name nobody knows before
    /// it is resolved.
    pub(super) fn is_private(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        address.is_ok_and(|address| !is_public(address))
    }
}

/// Resolves names, and keeps what is not public to itself. What it gives is what is connected to,
/// so no later answer of the name's owner can lead elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublicResolver;

/// Why a name cannot be reached.
#[derive(Debug, Error)]
enum ResolveError {
    #[error("it leads to private addresses only")]
    Private,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|at| is_public(at.ip())).collect();
            if public.is_empty() {
                return Err(ResolveError::Private.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet (IANA's special-purpose registries, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let is_special = match address.octets() {
        // This network, private use, loopback, link-local, protocols, documentation, 6to4 relays,
        // benchmarks.
        [0 | 10 | 127, ..]
        | [192, 168, ..]
        | [169, 254, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => true,
        [172, second, ..] => (16..32).contains(&second),
        // Behind carriers' NAT (RFC 6598).
        [100, second, ..] => (64..128).contains(&second),
        // Multicast, and what is reserved.
        [first, ..] => first >= 224,
    };
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, rest @ ..] = address.segments();
    // Translated by NAT64 (RFC 6052): the address is the IPv4 one in it.
    if [first, second] == [0x64, 0xff9b] && rest[..4] == [0; 4] {
        let [.., a, b, c, d] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    // Only 2000::/3 is given out; of it, these are for protocols, tunnels and documentation.
    let is_given_out = first & 0xe000 == 0x2000;
    let is_special = matches!((first, second), (0x2001, 0..0x200 | 0xdb8))
        || first == 0x2002
        || (first == 0x3fff && second < 0x1000);
    is_given_out && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhooks_url_is_http_with_a_host_and_without_a_user() {
        for text in ["https://example.com/x?y=1", "http://192.0.2.1:8080", "http://[::1]/"] {
            assert!(WebhookUrl::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "file:///etc/passwd",
            "https://ann@example.com/",
            "https://:pw@example.com/",
            "unix:/x",
            "http://x y/",
        ] {
            assert_eq!(WebhookUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_everybodys_is_private() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "192.88.99.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::a9fe:a9fe",
            "::7f00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
        ] {
            assert!(!is_public(text.parse().expect("an address")), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.128.0.1",
            "198.20.0.1",
            "223.255.255.254",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(is_public(text.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn an_address_is_seen_through_however_it_is_written() {
        for text in [
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "https://0177.0.0.1:8443/x",
        ] {
            assert!(WebhookUrl::parse(text).expect("a URL").is_private(), "{text}");
        }
        assert!(!WebhookUrl::parse("https://localhost/").expect("a URL").is_private());
        assert!(!WebhookUrl::parse("https://1.1.1.1/").expect("a URL").is_private());
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_not_resolved() {
        let name = "localhost".parse().expect("a name");
        let refused = PublicResolver.resolve(name).await.map(|_| ());
        let told = refused.expect_err("localhost is no public name").to_string();
        assert_eq!(told, "it leads to private addresses only");
    }
}
