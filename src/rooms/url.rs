//! Which place a room's URL means.

use std::fmt;
use std::sync::Arc;

use reqwest::Url;

use super::janus::JanusAddress;
use super::wav::Recording;
use crate::agent::RoomFailure;

/// The place a `roomUrl` means; each has its adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomUrl {
    /// A room that we host: `rooms/NAME`, or an `http(s)` URL that ends so.
    Hosted(RoomName),
    /// A WHIP-like endpoint: an `http(s)` URL with `whip` in its path.
    Whip(Url),
    /// An AudioBridge of Janus: `janus+ws(s)://HOST/PATH?room=ID`.
    Janus(JanusAddress),
    /// A room of Daily: `https://NAME.daily.co/ROOM`.
    Daily(Url),
    /// A recorded caller: `wav:PATH?out=PATH`.
    Recorded(Recording),
}

impl RoomUrl {
    /// Reads a `roomUrl`.
    pub fn parse(text: &str) -> Result<Self, RoomFailure> {
        let unsupported = || RoomFailure::Unsupported(text.to_owned());
        let place = match text.split_once(':') {
            Some(("http" | "https", _)) => Url::parse(text).ok().and_then(Self::of_http),
            Some(("janus+ws" | "janus+wss", _)) => JanusAddress::parse(text).map(Self::Janus),
            Some(("wav", rest)) => Recording::parse(rest).map(Self::Recorded),
            _ => hosted(text.strip_prefix('/').unwrap_or(text)),
        };
        place.ok_or_else(unsupported)
    }

    fn of_http(url: Url) -> Option<Self> {
        let host = url.host_str()?;
        if host.strip_suffix(".daily.co").is_some_and(|name| !name.is_empty()) {
            let is_room = url.scheme() == "https" && !url.path().trim_matches('/').is_empty();
            return is_room.then_some(Self::Daily(url));
        }
        let is_whip = url.path_segments().is_some_and(|mut parts| parts.any(|part| part == "whip"));
        if is_whip { Some(Self::Whip(url)) } else { hosted(url.path().strip_prefix('/')?) }
    }
}

fn hosted(path: &str) -> Option<RoomUrl> {
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let name = path.strip_prefix("rooms/")?;
    RoomName::parse(name.trim_end_matches('/')).map(RoomUrl::Hosted)
}

/// The name of a room that we host. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// Takes 1 to 64 letters, digits, `-`, `_` or `.`, not beginning with a dot.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = (1..=NAME_MAX).contains(&text.len())
            && text.bytes().all(is_letter)
            && !text.starts_with('.');
        is_name.then(|| Self(text.into()))
    }

    /// A name that can be read out, such as `calm-heron-0417`, from random bits.
    #[must_use]
    pub fn from_entropy(bits: u128) -> Self {
        let [first, second, number @ ..] = bits.to_le_bytes();
        let pick = |words: &[&'static str; 32], byte: u8| words[usize::from(byte % 32)];
        let (manner, animal) = (pick(&MANNERS, first), pick(&ANIMALS, second));
        let number = u16::from_le_bytes([number[0], number[1]]) % 10_000;
        Self(format!("{manner}-{animal}-{number:04}").into())
    }

    /// The name as clients see it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const NAME_MAX: usize = 64;

const MANNERS: [&str; 32] = [
    "amber", "bold", "brave", "brief", "bright", "calm", "clear", "clever", "cosy", "eager",
    "early", "fair", "fond", "gentle", "glad", "golden", "grand", "happy", "keen", "kind",
    "lively", "lucky", "merry", "mild", "neat", "noble", "polite", "quiet", "steady", "sunny",
    "warm", "wise",
];

const ANIMALS: [&str; 32] = [
    "badger", "beaver", "crane", "deer", "dolphin", "eagle", "falcon", "ferret", "finch", "fox",
    "gecko", "hare", "heron", "ibis", "jay", "koala", "lark", "lynx", "marten", "mole", "newt",
    "otter", "owl", "panda", "puffin", "raven", "robin", "seal", "stork", "swan", "tern", "wren",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_of_ours_is_known_by_its_path() {
        for url in [
            "rooms/lobby",
            "/rooms/lobby",
            "http://127.0.0.1:8080/rooms/lobby",
            "https://call.example/rooms/lobby/?name=Ann#top",
        ] {
            let lobby = RoomName::parse("lobby").unwrap();
            assert_eq!(RoomUrl::parse(url), Ok(RoomUrl::Hosted(lobby)), "{url}");
        }
    }

    #[test]
    fn a_place_elsewhere_is_known_by_its_url() {
        let kind = |text: &str| match RoomUrl::parse(text).unwrap() {
            RoomUrl::Hosted(_) => "hosted",
            RoomUrl::Whip(_) => "whip",
            RoomUrl::Janus(_) => "janus",
            RoomUrl::Daily(_) => "daily",
            RoomUrl::Recorded(_) => "wav",
        };
        for (url, expected) in [
            ("https://call.example/whip", "whip"),
            ("https://call.example/rooms/lobby/whip?x=1", "whip"),
            ("http://127.0.0.1:8080/whip/endpoint/abc", "whip"),
            ("https://team.daily.co/standup", "daily"),
            ("janus+ws://127.0.0.1:8188/janus?room=1234", "janus"),
            ("janus+wss://janus.example/?room=1234&pin=5", "janus"),
            ("wav:fixtures/question.wav", "wav"),
            ("wav:/tmp/in.wav?out=/tmp/out.wav", "wav"),
        ] {
            assert_eq!(kind(url), expected, "{url}");
        }
    }

    #[test]
    fn a_name_of_ours_can_be_read_and_is_a_name() {
        assert_eq!(RoomName::from_entropy(0).as_str(), "amber-badger-0000");
        for bits in [1, 0x1234_5678_9abc, u128::MAX] {
            let name = RoomName::from_entropy(bits);
            assert_eq!(RoomName::parse(name.as_str()), Some(name.clone()), "{name}");
        }
    }

    #[test]
    fn every_other_url_is_refused_by_name() {
        for url in [
            "",
            "lobby",
            "rooms/",
            "rooms/a/b",
            "rooms/..",
            "rooms/a b",
            "https://call.example",
            "https://daily.co/lobby",
            "https://x.daily.co/",
            "janus+ws://host/janus",
            "wav:",
            "sip:ann@call.example",
            "wss://x.livekit.cloud/rooms/lobby",
            &format!("rooms/{}", "x".repeat(65)),
        ] {
            assert_eq!(RoomUrl::parse(url), Err(RoomFailure::Unsupported(url.to_owned())));
        }
    }
}
