//! Rooms of a Janus AudioBridge, joined over its WebSocket API.

mod company;
mod session;
mod visit;
mod wire;

use std::fmt;

use reqwest::Url;

pub(super) use self::visit::Visit;
use crate::privacy::Secret;

/// Where a room of Janus is, and what lets us in: `janus+ws(s)://HOST/PATH?room=ID`.
///
/// Behind it may stand `pin` (the room's), `secret` (the room's, to end it with), `apisecret` and
/// `jtoken` (the server's), and `create=true`: then a room that is not there is made.
#[derive(Clone, PartialEq, Eq)]
pub struct JanusAddress {
    server: Url,
    room: String,
    pin: Option<Secret>,
    secret: Option<Secret>,
    api_secret: Option<Secret>,
    server_token: Option<Secret>,
    makes_room: bool,
}

impl JanusAddress {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut server = Url::parse(text.strip_prefix("janus+")?).ok()?;
        let parameter = |name: &str| {
            let value = server.query_pairs().find(|(key, _)| key == name)?.1.into_owned();
            (!value.is_empty()).then_some(value)
        };
        let secret = |name: &str| parameter(name).map(Secret::new);
        let address = Self {
            room: parameter("room")?,
            pin: secret("pin"),
            secret: secret("secret"),
            api_secret: secret("apisecret"),
            server_token: secret("jtoken"),
            makes_room: parameter("create").as_deref() == Some("true"),
            server: server.clone(),
        };
        server.set_query(None);
        server.set_fragment(None);
        Some(Self { server, ..address })
    }
}

impl fmt::Debug for JanusAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} room {}", self.server, self.room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_us_in_is_read_and_not_shown() {
        let url = "janus+wss://j.example:8989/janus?room=a%20b&pin=1&secret=2&apisecret=3&jtoken=4";
        let address = JanusAddress::parse(url).unwrap();
        assert_eq!(format!("{address:?}"), "wss://j.example:8989/janus room a b");
        let secrets = [&address.pin, &address.secret, &address.api_secret, &address.server_token];
        assert_eq!(secrets.map(|it| it.as_ref().unwrap().expose()), ["1", "2", "3", "4"]);
        assert!(!address.makes_room);
        let bare = JanusAddress::parse("janus+ws://j.example/?create=true&room=7").unwrap();
        assert!(bare.makes_room && bare.pin.is_none());
    }

    #[test]
    fn an_address_needs_a_room() {
        for url in ["janus+ws://j.example/janus", "janus+ws://j.example/?room=", "ws://j/?room=1"] {
            assert_eq!(JanusAddress::parse(url), None, "{url}");
        }
    }
}
