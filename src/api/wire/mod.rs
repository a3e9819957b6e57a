//! Every JSON shape that clients see or send; the only place of the API that knows serde.

mod account;
mod agent;
mod asked;
mod call;
mod change;
mod event;
mod fields;
mod frame;
mod image;
mod message;
mod room;
mod strict;
mod webhook;
mod words;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

pub(super) use account::{IssuedKeyBody, KeyBody, NewKeyBody, NewUserBody, UserBody};
pub(super) use agent::{
    AGENT_TYPE, Metadata, ModelBody, NewAgentBody, OnDuplicate, TurnDetectionBody,
};
pub(super) use asked::{
    AgentChangeSchema, HandOffSchema, NewAgentSchema, NewKeySchema, NewRoomSchema, NewUserSchema,
    NewWebhookSchema,
};
pub(super) use call::{
    CallSummaryBody, CallsBody, CallsQuery, GatewayShareBody, LatencyBody, LineBody, PastCallBody,
    PastHandOffBody, ToolCallBody, TurnBody,
};
pub(super) use change::{AgentChangeBody, HandOffBody, SuccessorBody};
pub(super) use event::{EventKind, FeedEvent, ParticipantBody, RoomEvent, ServerEvent};
pub(super) use fields::{BadBody, Mistake};
pub(super) use frame::{Ack, AckFrame, AckName, Carried, read_event, read_frame};
#[cfg(test)]
pub(super) use message::MESSAGE_TYPES;
pub(super) use message::{ClientMessage, Generation, MESSAGE};
pub(super) use room::{IssuedRoomBody, NewRoomBody, RoomBody, RoomsBody};
pub(super) use webhook::{IssuedWebhookBody, NewWebhookBody, WebhookBody, WebhooksBody};
use words::{ActivityWord, AgentTypeWord, HealthWord, StageWord, StateWord};
pub(super) use words::{FeedEventSchema, RoomEventSchema};

/// The envelope of every error that REST answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorBody<'a> {
    /// The status's reason phrase.
    #[schema(example = "Bad Request")]
    pub(super) error: &'a str,
    /// What went wrong, for people.
    #[schema(min_length = 1, example = "the request has mistakes")]
    pub(super) message: &'a str,
    /// The status.
    #[serde(rename = "statusCode")]
    #[schema(minimum = 400, maximum = 599, example = 400)]
    pub(super) status_code: u16,
    /// What went wrong, for programs: each answer names the codes it may carry. New codes may
    /// come; none changes its meaning.
    #[schema(pattern = "^[A-Z][A-Z0-9_]*$", example = "VALIDATION_ERROR")]
    pub(super) code: &'static str,
    /// The agent that is in the way (`DUPLICATE_SESSION`).
    #[serde(rename = "agentId", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) agent_id: Option<&'a str>,
    /// Every mistake of the request, and where (`VALIDATION_ERROR`).
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    pub(super) details: &'a [Mistake],
}

/// An agent as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Agent)]
pub(super) struct AgentBody {
    #[schema(example = "ag_2m4c3e1cw6tfpqesaqfxa963t1")]
    pub(super) id: String,
    #[schema(example = "Ada")]
    pub(super) name: String,
    #[schema(inline, value_type = AgentTypeWord)]
    pub(super) agent_type: &'static str,
    /// As it was given, to the byte.
    #[schema(value_type = Object)]
    pub(super) metadata: Box<RawValue>,
    #[schema(inline, value_type = StateWord)]
    pub(super) state: &'static str,
    #[schema(inline, value_type = ActivityWord)]
    pub(super) activity: &'static str,
    /// The call it is in, if it is in one.
    #[schema(required = true)]
    pub(super) call: Option<CallBody>,
    /// How many clients are connected to it.
    pub(super) clients: usize,
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    /// When its time to live is over; null if it has none.
    #[schema(required = true, format = DateTime)]
    pub(super) expires_at: Option<String>,
    /// The user it serves, in the owner's own words.
    #[schema(required = true)]
    pub(super) user_id: Option<String>,
}

/// The call an agent is in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Call)]
pub(super) struct CallBody {
    pub(super) id: String,
    #[schema(example = "rooms/lobby")]
    pub(super) room_url: String,
    #[schema(inline, value_type = StageWord)]
    pub(super) stage: &'static str,
    pub(super) participants: Vec<ParticipantBody>,
    /// When this stage began.
    #[schema(format = DateTime)]
    pub(super) since: String,
}

/// A page of agents, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Agents)]
pub(super) struct AgentsBody {
    pub(super) agents: Vec<AgentBody>,
    /// What to ask the next page with; null at the end.
    #[schema(required = true)]
    pub(super) next_cursor: Option<String>,
}

/// Which page of a list is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// How many at most; 20 unless given.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, example = 20)]
    pub(super) limit: Option<String>,
    /// `nextCursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// Who comes into a room, or watches it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RoomQuery {
    /// The name that others see.
    pub(super) name: Option<String>,
    /// One's own key in the room: the last part of the `Location` that entering it gave.
    pub(super) participant: Option<String>,
}

/// What a client shows on connecting, in the query or as Socket.IO's `auth`.
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

/// Who goes on in the place of whom.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HandedOff)]
pub(super) struct HandedOffBody {
    #[schema(example = "ag_2m4c3e1cw6tfpqesaqfxa963t1")]
    pub(super) from: String,
    pub(super) to: String,
}

/// How the process is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct HealthBody {
    #[schema(inline, value_type = HealthWord)]
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
