//! The STUN and TURN servers that callers are told of.

use std::time::Duration;

use super::parse;
use super::reader::Reader;
use crate::privacy::Secret;

/// Servers that help callers to find a way to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceConfig {
    /// URLs of STUN servers (RFC 7064).
    pub stun: Vec<String>,
    /// What relays for callers who find no other way.
    pub turn: Option<TurnConfig>,
}

/// TURN servers that share a secret with the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnConfig {
    /// Their URLs (RFC 7065). Never empty.
    pub urls: Vec<String>,
    /// What passwords are made with.
    pub secret: Secret,
    /// How long a password opens anything.
    pub ttl: Duration,
}

impl IceConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let stun = reader.take("stun.urls", parse::ice_urls(&["stun", "stuns"]));
        Self { stun: stun.unwrap_or_default(), turn: turn(reader) }
    }
}

/// The servers and the secret are of use only together.
fn turn(reader: &mut Reader<'_>) -> Option<TurnConfig> {
    let (has_urls, has_secret) = (reader.has("turn.urls"), reader.has("turn.secret"));
    let urls = reader.take("turn.urls", parse::ice_urls(&["turn", "turns"]));
    let secret = reader.take("turn.secret", parse::token);
    let ttl = reader.take("turn.ttl_seconds", parse::whole(TTL_MIN..=TTL_MAX));
    if has_urls && !has_secret {
        let what = "must be given with turn.urls: the static-auth-secret of these servers";
        reader.mistake("turn.secret", what);
    }
    if has_secret && !has_urls {
        reader
            .mistake("turn.urls", "must be given with turn.secret, such as turn:turn.example:3478");
    }
    Some(TurnConfig { urls: urls?, secret: secret?, ttl: Duration::from_secs(ttl.unwrap_or(TTL)) })
}

/// An hour: a password is needed when a way is looked for, not for as long as it is used.
const TTL: u64 = 3600;
/// A minute: clocks differ, and a person takes time to allow the microphone.
const TTL_MIN: u64 = 60;
/// A week.
const TTL_MAX: u64 = 7 * 24 * 3600;
