//! Names of things: one newtype per kind of id, so that no two kinds can be mixed up.

use std::fmt;
use std::sync::Arc;

macro_rules! id {
    ($(#[doc = $doc:literal] $name:ident = $prefix:literal;)+) => {$(
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes an id of ours from 128 random bits (see `sys::entropy`).
            #[must_use]
            pub fn from_entropy(bits: u128) -> Self {
                Self(format!(concat!($prefix, "_{}"), base32(bits)).into())
            }

            /// Takes over an id that someone else has given.
            #[must_use]
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The id as clients see it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

id! {
    /// An agent: created over REST, living until it is ended.
    AgentId = "ag";
    /// A user of the API, who owns agents, keys and rooms.
    UserId = "usr";
    /// An API key, without its secret.
    KeyId = "key";
    /// One control connection to an agent.
    ClientId = "cl";
    /// One stay of one agent in one room.
    CallId = "call";
    /// Someone in a room.
    ParticipantId = "p";
    /// One stretch of speech, of the agent or of a participant.
    UtteranceId = "utt";
    /// One answer of a model.
    ResponseId = "resp";
    /// One request of a model to run a tool.
    ToolCallId = "tc";
    /// Where an owner wants to be told what happens.
    WebhookId = "wh";
    /// One text that a webhook is told, however often it is tried.
    DeliveryId = "whd";
}

/// Crockford's base 32: 26 characters for 128 bits, no letters that read as digits.
fn base32(bits: u128) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let digit = |place: u32| ALPHABET[((bits >> (5 * place)) & 31) as usize];
    (0..26).rev().map(digit).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_spells_all_its_bits_behind_its_prefix() {
        assert_eq!(AgentId::from_entropy(0).as_str(), "ag_00000000000000000000000000");
        assert_eq!(CallId::from_entropy(33).as_str(), "call_00000000000000000000000011");
        assert_eq!(AgentId::from_entropy(u128::MAX).as_str().len(), 29);
    }
}
