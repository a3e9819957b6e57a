//! How what goes into a core is written: mirrors of its types, field by field, so that the types
//! themselves need not know of journals.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::agent::{
    AgentSpec, Command, ContextUpdate, JoinRequest, LineQuality, ModelEvent, ModelFailure,
    Participant, ResponseOutcome, RoomEvent, RoomFailure, ToolResult,
};
use crate::ids::{AgentId, CallId, ClientId, ParticipantId, ResponseId, ToolCallId, UtteranceId};
use crate::media::OpusPacket;
use crate::privacy::{Pii, Secret};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Command", rename_all = "snake_case")]
#[expect(clippy::option_option, reason = "the command's own shape")]
pub(super) enum CommandDef {
    Join(#[serde(with = "JoinRequestDef")] JoinRequest),
    Leave,
    Context(#[serde(with = "ContextUpdateDef")] ContextUpdate),
    ToolResult(#[serde(with = "ToolResultDef")] ToolResult),
    Say(#[serde(with = "text")] Pii<String>),
    Interrupt,
    SetMuted(bool),
    /// It names an instant, so a journal has its own line for it.
    #[serde(skip)]
    Reconfigure {
        spec: Option<std::sync::Arc<AgentSpec>>,
        expires_at: Option<Option<std::time::Instant>>,
    },
    HandOff {
        #[serde(with = "text")]
        to: AgentId,
        reason: String,
        #[serde(with = "text_option")]
        context: Option<Pii<String>>,
    },
    ExpectHandoff,
    Delete,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "JoinRequest")]
struct JoinRequestDef {
    #[serde(with = "text")]
    call: CallId,
    room_url: String,
    /// What opens a room is nobody's to read, and decides nothing.
    #[serde(skip)]
    token: Option<Secret>,
    participant_name: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ContextUpdate")]
struct ContextUpdateDef {
    name: String,
    #[serde(with = "text")]
    description: Pii<String>,
    #[serde(with = "text")]
    context_json: Pii<String>,
    #[serde(with = "text_list")]
    images: Vec<Pii<String>>,
    triggering: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ToolResult")]
struct ToolResultDef {
    #[serde(with = "text")]
    id: ToolCallId,
    #[serde(with = "outcome")]
    outcome: Result<Pii<String>, Pii<String>>,
    canceled: bool,
    respond: bool,
}

/// A packet. It names an instant, so it is a shape of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PacketShape {
    #[serde(with = "text")]
    participant: ParticipantId,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    #[serde(with = "base64")]
    payload: Bytes,
    /// How long before it was taken it had come off the network.
    #[serde(default)]
    age_ns: u64,
}

impl PacketShape {
    /// A packet that is taken at `now`.
    pub(super) fn of(packet: &OpusPacket, now: Instant) -> Self {
        let OpusPacket { participant, sequence, timestamp, marker, payload, at } = packet;
        let age = now.saturating_duration_since(*at).as_nanos();
        Self {
            participant: participant.clone(),
            sequence: *sequence,
            timestamp: *timestamp,
            marker: *marker,
            payload: payload.clone(),
            age_ns: u64::try_from(age).unwrap_or(u64::MAX),
        }
    }

    /// The packet again.
    pub(super) fn packet(self, now: Instant) -> OpusPacket {
        let Self { participant, sequence, timestamp, marker, payload, age_ns } = self;
        let at = now.checked_sub(Duration::from_nanos(age_ns)).unwrap_or(now);
        OpusPacket { participant, sequence, timestamp, marker, payload, at }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Participant")]
struct ParticipantDef {
    #[serde(with = "text")]
    id: ParticipantId,
    name: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RoomEvent", rename_all = "snake_case")]
pub(super) enum RoomEventDef {
    Joined {
        #[serde(with = "participants")]
        participants: Vec<Participant>,
    },
    Failed(#[serde(with = "RoomFailureDef")] RoomFailure),
    ParticipantJoined(#[serde(with = "ParticipantDef")] Participant),
    ParticipantLeft {
        #[serde(with = "text")]
        id: ParticipantId,
        reason: String,
    },
    Speaking {
        #[serde(with = "text")]
        id: ParticipantId,
        is_speaking: bool,
    },
    Message {
        #[serde(with = "text")]
        id: ParticipantId,
        #[serde(with = "text")]
        text: Pii<String>,
    },
    Quality {
        #[serde(with = "text")]
        id: ParticipantId,
        #[serde(with = "LineQualityDef")]
        line: LineQuality,
    },
    Left,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "LineQuality")]
struct LineQualityDef {
    lost_up_percent: u8,
    lost_down_percent: u8,
    jitter_up_ms: u16,
    jitter_down_ms: u16,
    round_trip_ms: Option<u16>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RoomFailure", rename_all = "snake_case")]
enum RoomFailureDef {
    Unsupported(String),
    NotFound,
    Unauthorized,
    Unreachable(String),
    Full,
    Media(String),
    Closed(String),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ModelEvent", rename_all = "snake_case")]
pub(super) enum ModelEventDef {
    Ready {
        takes_turns: bool,
    },
    Failed(#[serde(with = "ModelFailureDef")] ModelFailure),
    SpeechStarted {
        #[serde(with = "text")]
        utterance: UtteranceId,
        interrupts: bool,
    },
    SpeechStopped {
        #[serde(with = "text")]
        utterance: UtteranceId,
    },
    Transcript {
        #[serde(with = "text")]
        utterance: UtteranceId,
        #[serde(with = "text")]
        text: Pii<String>,
        is_final: bool,
    },
    ResponseStarted {
        #[serde(with = "text")]
        response: ResponseId,
    },
    Words {
        #[serde(with = "text")]
        utterance: UtteranceId,
        #[serde(with = "text")]
        text: Pii<String>,
        is_final: bool,
    },
    ToolCall {
        #[serde(with = "text")]
        response: ResponseId,
        #[serde(with = "text")]
        id: ToolCallId,
        name: String,
        arguments_json: String,
    },
    ResponseDone {
        #[serde(with = "text")]
        response: ResponseId,
        #[serde(with = "ResponseOutcomeDef")]
        outcome: ResponseOutcome,
    },
    Reconnecting {
        reason: String,
    },
    Restored,
    Complaint {
        code: String,
        message: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ResponseOutcome", rename_all = "snake_case")]
enum ResponseOutcomeDef {
    Completed,
    Cancelled,
    Incomplete,
    Failed(String),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ModelFailure", rename_all = "snake_case")]
pub(super) enum ModelFailureDef {
    Unavailable(String),
    Lost(String),
    Stalled,
    Flooding,
}

/// What is made of one text.
pub(super) trait Text: Sized {
    fn text(&self) -> &str;
    fn of(text: String) -> Self;
}

macro_rules! text_of_ids {
    ($($id:ident)+) => {$(
        impl Text for $id {
            fn text(&self) -> &str {
                self.as_str()
            }

            fn of(text: String) -> Self {
                Self::new(text)
            }
        }
    )+};
}

text_of_ids! { AgentId CallId ClientId ParticipantId ResponseId ToolCallId UtteranceId }

impl Text for Pii<String> {
    fn text(&self) -> &str {
        self.expose()
    }

    fn of(text: String) -> Self {
        Self::new(text)
    }
}

pub(super) mod text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Text;

    pub(crate) fn serialize<T: Text, S: Serializer>(of: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(of.text())
    }

    pub(crate) fn deserialize<'de, T: Text, D>(from: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
    {
        String::deserialize(from).map(T::of)
    }
}

mod text_option {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Text;

    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub(crate) fn serialize<T: Text, S: Serializer>(
        of: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        of.as_ref().map(Text::text).serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Text, D>(from: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
    {
        Ok(Option::<String>::deserialize(from)?.map(T::of))
    }
}

mod text_list {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Text;

    pub(crate) fn serialize<T: Text, S: Serializer>(of: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(of.iter().map(Text::text))
    }

    pub(crate) fn deserialize<'de, T: Text, D>(from: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
    {
        Ok(Vec::<String>::deserialize(from)?.into_iter().map(T::of).collect())
    }
}

/// Success or failure of a tool, in words.
mod outcome {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Text;

    pub(crate) fn serialize<T: Text, S: Serializer>(
        of: &Result<T, T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        of.as_ref().map(Text::text).map_err(Text::text).serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Text, D>(from: D) -> Result<Result<T, T>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let outcome = Result::<String, String>::deserialize(from)?;
        Ok(outcome.map(T::of).map_err(T::of))
    }
}

/// Bytes as base64.
mod base64 {
    use base64_simd::STANDARD;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(of: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode_to_string(of))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode_to_vec(text).map(Bytes::from).map_err(D::Error::custom)
    }
}

/// Samples of 16 bits, little-endian, as base64.
pub(super) mod pcm {
    use base64_simd::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(of: &[i16], to: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = of.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        to.serialize_str(&STANDARD.encode_to_string(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<i16>, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD.decode_to_vec(text).map_err(D::Error::custom)?;
        let (pairs, _) = bytes.as_chunks::<2>();
        Ok(pairs.iter().map(|pair| i16::from_le_bytes(*pair)).collect())
    }
}

macro_rules! lists {
    ($($list:ident of $item:ident as $def:literal;)+) => {$(
        mod $list {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            use super::*;

            #[derive(Serialize)]
            struct Lent<'a>(#[serde(with = $def)] &'a $item);

            #[derive(Deserialize)]
            struct Own(#[serde(with = $def)] $item);

            pub(crate) fn serialize<S: Serializer>(of: &[$item], to: S) -> Result<S::Ok, S::Error> {
                to.collect_seq(of.iter().map(Lent))
            }

            pub(crate) fn deserialize<'de, D>(from: D) -> Result<Vec<$item>, D::Error>
            where
                D: Deserializer<'de>,
            {
                Ok(Vec::<Own>::deserialize(from)?.into_iter().map(|Own(item)| item).collect())
            }
        }
    )+};
}

pub(super) use lists;

lists! {
    participants of Participant as "ParticipantDef";
}
