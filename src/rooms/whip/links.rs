//! The servers that an endpoint recommends for ICE: `Link` headers (RFC 9725, section 4.6;
//! RFC 8288, section 3).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::privacy::Secret;
use crate::rooms::peer::IceServer;

/// The servers among these header values that we can use: STUN, and TURN over UDP with a password.
pub(super) fn ice_servers<'a>(values: impl Iterator<Item = &'a str>) -> Vec<IceServer> {
    values.flat_map(split(',')).filter_map(ice_server).take(SERVERS_MAX).collect()
}

/// Puts addresses in the place of hosts' names; who is not found in time is left out. The engine
/// would find them by itself, but everything of the leg would wait for it.
pub(super) async fn resolve(servers: Vec<IceServer>) -> Vec<IceServer> {
    let mut found = Vec::with_capacity(servers.len());
    for server in servers {
        let Some((scheme, host, port)) = parts(&server.url) else { continue };
        let addresses = timeout(LOOK_UP, lookup_host((host, port))).await;
        let addresses = addresses.ok().and_then(Result::ok);
        if let Some(address) = addresses.and_then(|mut all| all.find(SocketAddr::is_ipv4)) {
            let url = format!("{scheme}:{}:{}", address.ip(), address.port());
            found.push(IceServer { url, ..server });
        } else {
            tracing::debug!(scheme, "a server for ICE is not found");
        }
    }
    found
}

fn ice_server(link: &str) -> Option<IceServer> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let (mut is_meant, mut user, mut password) = (false, String::new(), Secret::new(""));
    for parameter in split(';')(parameters) {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let value = unquoted(value.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "rel" => is_meant = value.split_ascii_whitespace().any(|kind| kind == "ice-server"),
            "username" => user = value,
            "credential" => password = Secret::new(value),
            _ => {}
        }
    }
    let (scheme, ..) = parts(url)?;
    let is_usable = match scheme {
        "stun" => true,
        "turn" => {
            let is_udp = !url.contains('?') || url.ends_with("?transport=udp");
            is_udp && !user.is_empty() && !password.expose().is_empty()
        }
        _ => false,
    };
    (is_meant && is_usable).then(|| IceServer { url: url.to_owned(), user, password })
}

/// Scheme, host and port of a URL of RFC 7064 or RFC 7065.
fn parts(url: &str) -> Option<(&str, &str, u16)> {
    let (scheme, rest) = url.split_once(':')?;
    let authority = rest.split('?').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, USUAL_PORT),
    };
    let host = host.trim_matches(['[', ']']);
    (!host.is_empty()).then_some((scheme, host, port))
}

/// Cuts a value at this sign, but not within quotes.
fn split(at: char) -> impl Fn(&str) -> Vec<&str> {
    move |text| {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let is_cut = |sign: char| {
            match sign {
                _ if is_escaped => is_escaped = false,
                '\\' if is_quoted => is_escaped = true,
                '"' => is_quoted = !is_quoted,
                _ => return sign == at && !is_quoted,
            }
            false
        };
        text.split(is_cut).collect()
    }
}

fn unquoted(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        return value.to_owned();
    };
    let (mut text, mut signs) = (String::new(), quoted.chars());
    while let Some(sign) = signs.next() {
        text.extend(if sign == '\\' { signs.next() } else { Some(sign) });
    }
    text
}

/// How many servers are asked: each costs every leg some datagrams.
const SERVERS_MAX: usize = 4;

/// Where STUN and TURN servers listen, unless they say otherwise.
const USUAL_PORT: u16 = 3478;

/// How long a server's name may take to be found.
const LOOK_UP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_from_one_header_or_many() {
        let values = [
            r#"<https://call.example/next>; rel="next", <stun:stun.example>; rel="ice-server""#,
            concat!(
                r#"<turn:192.0.2.1:3479?transport=udp>; rel=ice-server; "#,
                r#"username="a, \"b\"; c"; credential="pass=word"; credential-type="password""#,
            ),
        ];
        assert_eq!(
            read(&values),
            [
                ("stun:stun.example".to_owned(), String::new(), String::new()),
                (
                    "turn:192.0.2.1:3479?transport=udp".to_owned(),
                    "a, \"b\"; c".to_owned(),
                    "pass=word".to_owned(),
                ),
            ]
        );
    }

    #[test]
    fn what_cannot_be_used_is_left_out() {
        for value in [
            "stun:stun.example; rel=ice-server",
            "<stun:stun.example>",
            "<stun:>; rel=ice-server",
            "<turn:turn.example>; rel=ice-server",
            "<turn:turn.example?transport=tcp>; rel=ice-server; username=a; credential=b",
            "<turns:turn.example>; rel=ice-server; username=a; credential=b",
            "<stun:stun.example:port>; rel=ice-server",
        ] {
            assert_eq!(read(&[value]), [], "{value}");
        }
    }

    #[tokio::test]
    async fn an_address_is_kept_and_gets_its_port() {
        let servers = ice_servers(["<stun:192.0.2.7>; rel=ice-server"].into_iter());
        assert_eq!(resolve(servers).await[0].url, "stun:192.0.2.7:3478");
    }

    fn read(values: &[&str]) -> Vec<(String, String, String)> {
        let servers = ice_servers(values.iter().copied()).into_iter();
        let parts =
            |server: IceServer| (server.url, server.user, server.password.expose().to_owned());
        servers.map(parts).collect()
    }
}
