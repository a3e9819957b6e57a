//! How a request has reached us: from whom, and under which name of ours. Where a proxy of the
//! operator's stands before us, it says so in headers, which anybody else could write as well: so
//! only those are believed whose connection comes from a trusted network.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::uri::{Authority, Scheme};
use axum::http::{Extensions, HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

use super::serve::Peer;

/// How a request has reached us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Who asks: the first address on its way that is no trusted proxy's. `None` in-process.
    pub(super) from: Option<IpAddr>,
    /// Whether they have asked by HTTPS.
    is_private: bool,
    /// The host and port they have asked for.
    host: Option<Authority>,
}

impl Asked {
    /// Where we were reached, as `https://host`, which is where others can reach us too; `None` if
    /// nobody has said it.
    pub(super) fn origin(&self) -> Option<String> {
        let scheme = if self.is_private { Scheme::HTTPS } else { Scheme::HTTP };
        self.host.as_ref().map(|host| format!("{scheme}://{host}"))
    }

    /// The host and port that were asked for.
    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_ref().map(Authority::as_str)
    }

    /// How this request has reached us. Every request has been through [`note`].
    pub(super) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    fn read(request: &Request, trusted: &[IpNet]) -> Self {
        let (uri, headers) = (request.uri(), request.headers());
        let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer);
        let direct = Self {
            from: peer.map(|peer| peer.address.ip().to_canonical()),
            is_private: peer.is_some_and(|peer| peer.is_private),
            host: host_of(uri, headers),
        };
        let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(&ip));
        match direct.from {
            Some(proxy) if is_trusted(proxy) => direct.behind_proxy(headers, is_trusted),
            Some(_) | None => direct,
        }
    }

    /// The same as the proxy tells it. Many proxies write one kind of these headers and let the
    /// other pass as it comes: where both are there and differ, neither is believed.
    fn behind_proxy(self, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Self {
        let hops = forwarded(headers);
        let spoken = Told {
            from: client(hops.iter().map(|hop| hop.from), &is_trusted),
            proto: hops.last().and_then(|hop| hop.proto.clone()),
            host: hops.last().and_then(|hop| hop.host.clone()),
        };
        let listed = Told {
            from: client(items(headers, "x-forwarded-for").map(address), &is_trusted),
            proto: items(headers, "x-forwarded-proto").last().map(str::to_ascii_lowercase),
            host: items(headers, "x-forwarded-host").last().and_then(authority),
        };
        let proto = agreed(spoken.proto, listed.proto);
        Self {
            from: agreed(spoken.from, listed.from).or(self.from),
            is_private: proto.map_or(self.is_private, |proto| proto == "https"),
            host: agreed(spoken.host, listed.host).or(self.host),
        }
    }
}

/// For handlers.
impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions).cloned().unwrap_or_default())
    }
}

/// Notes how a request has reached us, for all that comes after.
pub(super) async fn note(
    State(trusted): State<Arc<[IpNet]>>,
    mut request: Request,
    next: Next,
) -> Response {
    let asked = Asked::read(&request, &trusted);
    request.extensions_mut().insert(asked);
    next.run(request).await
}

/// What one kind of header tells.
struct Told {
    from: Option<IpAddr>,
    proto: Option<String>,
    host: Option<Authority>,
}

/// One stop in `Forwarded` (RFC 7239, section 4).
#[derive(Default)]
struct Hop {
    from: Option<IpAddr>,
    proto: Option<String>,
    host: Option<Authority>,
}

/// What both say, or the only one that says anything.
fn agreed<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => (one == other).then_some(one),
        (one, other) => one.or(other),
    }
}

/// The nearest stop that is no trusted proxy; the nearest of all is the last. A stop that is no
/// address (`unknown`, or a made-up name) hides all before it.
fn client(
    stops: impl DoubleEndedIterator<Item = Option<IpAddr>>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut last = None;
    for stop in stops.rev() {
        let Some(ip) = stop else { break };
        last = Some(ip);
        if !is_trusted(ip) {
            break;
        }
    }
    last
}

fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    items(headers, "forwarded").map(hop).collect()
}

fn hop(text: &str) -> Hop {
    let mut hop = Hop::default();
    for (name, value) in text.split(';').filter_map(|pair| pair.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.from = address(value),
            "proto" => hop.proto = Some(value.to_ascii_lowercase()),
            "host" => hop.host = authority(value),
            _ => {}
        }
    }
    hop
}

/// The items of a list that may be spread over several headers.
fn items<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> impl DoubleEndedIterator<Item = &'a str> {
    let values: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.into_iter().flat_map(|value| value.split(',')).map(str::trim)
}

/// An address, perhaps with a port, and with brackets if it is of IPv6.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let bare = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, _port)) => inner,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// The host a request names. HTTP/2 has no `Host`, and tells it in the URI.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let text = || headers.get(header::HOST)?.to_str().ok();
    uri.authority().cloned().filter(is_place).or_else(|| authority(text()?))
}

fn authority(text: &str) -> Option<Authority> {
    text.parse::<Authority>().ok().filter(is_place)
}

/// A host and port, and nobody's name before it.
fn is_place(authority: &Authority) -> bool {
    !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let headers = [
            ("host", "inside:8080"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "call.example"),
        ];
        let believed = asked("10.0.0.1", &headers);
        assert_eq!(told(&believed), ("203.0.113.9".into(), "https://call.example".into()));
        let spoofed = asked("192.0.2.1", &headers);
        assert_eq!(told(&spoofed), ("192.0.2.1".into(), "http://inside:8080".into()));
        let mapped = asked("::ffff:10.0.0.1", &headers);
        assert_eq!(told(&mapped), ("203.0.113.9".into(), "https://call.example".into()));
    }

    #[test]
    fn what_a_client_wrote_before_the_proxy_counts_for_nothing() {
        for (listed, from) in [
            ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
            ("1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("1.1.1.1, unknown", "10.0.0.1"),
            ("1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("", "10.0.0.1"),
        ] {
            let asked = asked("10.0.0.1", &[("x-forwarded-for", listed)]);
            assert_eq!(told(&asked).0, from, "{listed}");
        }
    }

    #[test]
    fn the_standard_header_is_read_as_well() {
        let value = "for=1.1.1.1, For=\"[2001:db8::1]:4711\";proto=https;host=call.example:444";
        let believed = asked("10.0.0.1", &[("forwarded", value)]);
        assert_eq!(told(&believed), ("2001:db8::1".into(), "https://call.example:444".into()));
    }

    #[test]
    fn headers_that_differ_are_believed_neither_way() {
        let headers = [
            ("host", "inside"),
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=1.1.1.1;host=evil.example"),
            ("x-forwarded-host", "call.example"),
        ];
        let unsure = asked("10.0.0.1", &headers);
        assert_eq!(told(&unsure), ("10.0.0.1".into(), "http://inside".into()));
    }

    #[test]
    fn a_place_is_told_as_we_were_reached() {
        for (uri, host, wanted) in [
            ("/api/rooms", "call.example:8080", Some("http://call.example:8080")),
            ("/api/rooms", "[::1]:80", Some("http://[::1]:80")),
            ("https://call.example/api/rooms", "", Some("http://call.example")),
            ("/api/rooms", "", None),
            ("/api/rooms", "a/b", None),
            ("/api/rooms", "ann@call.example", None),
        ] {
            let headers: &[_] = if host.is_empty() { &[] } else { &[("host", host)] };
            let asked = Asked::read(&request(uri, None, headers), &[]);
            assert_eq!(asked.origin().as_deref(), wanted, "{uri} {host}");
        }
        let peer = Peer::at([192, 0, 2, 1].into(), true);
        let asked = Asked::read(&request("/", Some(peer), &[("host", "call.example")]), &[]);
        assert_eq!(asked.origin().as_deref(), Some("https://call.example"), "by our own TLS");
    }

    fn asked(peer: &str, headers: &[(&'static str, &str)]) -> Asked {
        let peer = Peer::at(peer.parse().expect("an address"), false);
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        Asked::read(&request("/", Some(peer), headers), &trusted)
    }

    fn told(asked: &Asked) -> (String, String) {
        let from = asked.from.expect("an address").to_string();
        (from, asked.origin().unwrap_or_default())
    }

    fn request(uri: &str, peer: Option<Peer>, headers: &[(&'static str, &str)]) -> Request {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri.parse().expect("a URI");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a value");
            request.headers_mut().append(*name, value);
        }
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        request
    }
}
