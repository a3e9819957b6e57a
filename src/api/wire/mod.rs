//! Every JSON shape that clients see or send; the only place of the API that knows serde.

mod account;
mod agent;
mod event;
mod fields;
mod message;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(super) use serde_json::Value as JsonValue;

pub(super) use account::{IssuedKeyBody, KeyBody, NewKeyBody, NewUserBody, UserBody};
pub(super) use agent::{AGENT_TYPE, Metadata, NewAgentBody, OnDuplicate};
pub(super) use event::{EventKind, ParticipantBody, RoomEvent, ServerEvent};
pub(super) use fields::{BadBody, Mistake};
#[cfg(test)]
pub(super) use message::MESSAGE;
pub(super) use message::{ClientMessage, Generation};

/// The envelope of every error that REST answers.
#[derive(Debug, Serialize)]
pub(super) struct ErrorBody<'a> {
    /// The status's reason phrase.
    pub(super) error: &'a str,
    /// What went wrong.
    pub(super) message: &'a str,
    #[serde(rename = "statusCode")]
    pub(super) status_code: u16,
    pub(super) code: &'static str,
    /// The agent that is in the way (`DUPLICATE_SESSION`).
    #[serde(rename = "agentId", skip_serializing_if = "Option::is_none")]
    pub(super) agent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) details: &'a [Mistake],
}

/// An agent as its owner sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentBody {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) agent_type: &'static str,
    /// As it was given, to the byte.
    pub(super) metadata: Box<RawValue>,
    pub(super) state: &'static str,
    pub(super) activity: &'static str,
    pub(super) call: Option<CallBody>,
    pub(super) clients: usize,
    pub(super) created_at: String,
    pub(super) expires_at: Option<String>,
    pub(super) user_id: Option<String>,
}

/// The call an agent is in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallBody {
    pub(super) id: String,
    pub(super) room_url: String,
    pub(super) stage: &'static str,
    pub(super) participants: Vec<ParticipantBody>,
    /// When this stage began.
    pub(super) since: String,
}

/// A page of agents.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentsBody {
    pub(super) agents: Vec<AgentBody>,
    pub(super) next_cursor: Option<String>,
}

/// Which page of a list is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    pub(super) limit: Option<String>,
    pub(super) cursor: Option<String>,
}

/// Who comes into a room, or watches it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RoomQuery {
    /// The name that others see.
    pub(super) name: Option<String>,
    /// One's own id in the room.
    pub(super) participant: Option<String>,
}

/// What a Socket.IO client shows on connecting, in the query or as `auth`.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Credentials {
    pub(super) agent_id: Option<String>,
    pub(super) api_key: Option<String>,
}

/// What an Engine.IO request says of its session.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EngineQuery {
    pub(super) sid: Option<String>,
    pub(super) transport: Option<String>,
}

/// Whether a message was taken.
#[derive(Debug, Serialize)]
pub(super) struct Ack<'a> {
    pub(super) ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
}

/// How the process is.
#[derive(Debug, Serialize)]
pub(super) struct HealthBody {
    pub(super) status: &'static str,
}

/// What can be read from a query.
pub(super) trait FromQuery: serde::de::DeserializeOwned {}

impl FromQuery for Credentials {}
impl FromQuery for EngineQuery {}

/// What Engine.IO answers to a session it does not know (its error 1).
pub(super) const ENGINE_SESSION_UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

/// Puts `metadata` back as it was given.
pub(super) fn raw_json(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The text of a body of ours.
pub(super) fn to_text<T: Serialize>(body: &T) -> String {
    serde_json::to_string(body).unwrap_or_else(|error| {
        tracing::error!(%error, "a body of our own has no JSON form");
        "{}".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_envelope_of_the_contract() {
        let body = ErrorBody {
            error: "Not Found",
            message: "there is no such agent",
            status_code: 404,
            code: "NOT_FOUND",
            agent_id: None,
            details: &[],
        };
        assert_eq!(
            to_text(&body),
            concat!(
                r#"{"error":"Not Found","message":"there is no such agent","#,
                r#""statusCode":404,"code":"NOT_FOUND"}"#
            )
        );
    }

    #[test]
    fn metadata_goes_back_to_the_byte() {
        assert_eq!(
            raw_json(r#"{"b":1.0, "a":"\u00e9"}"#.into()).get(),
            r#"{"b":1.0, "a":"\u00e9"}"#
        );
    }
}
