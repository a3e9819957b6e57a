//! Which place a room's URL means.

use std::fmt;
use std::sync::Arc;

use crate::agent::RoomFailure;

/// The place a `roomUrl` means; each has its adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomUrl {
    /// A room that we host.
    Hosted(RoomName),
}

impl RoomUrl {
    /// Reads a `roomUrl`: `rooms/NAME`, or an `http(s)` URL that ends so, is a room of ours.
    pub fn parse(url: &str) -> Result<Self, RoomFailure> {
        let unsupported = || RoomFailure::Unsupported(url.to_owned());
        let path = match url.split_once("://") {
            Some(("http" | "https", rest)) => rest.split_once('/').map(|(_, path)| path),
            Some(_) => None,
            None => Some(url.strip_prefix('/').unwrap_or(url)),
        };
        let path = path.ok_or_else(unsupported)?;
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let name = path.strip_prefix("rooms/").ok_or_else(unsupported)?;
        RoomName::parse(name.trim_end_matches('/')).map(Self::Hosted).ok_or_else(unsupported)
    }
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
            "https://call.example/whip",
            "https://call.example",
            "wss://x.livekit.cloud/rooms/lobby",
            &format!("rooms/{}", "x".repeat(65)),
        ] {
            assert_eq!(RoomUrl::parse(url), Err(RoomFailure::Unsupported(url.to_owned())));
        }
    }
}
