//! What of answers only the description knows: the words of closed sets, and events.

#![expect(dead_code, reason = "these types are read as schemas only")]

use utoipa::ToSchema;

/// The one kind of agent there is.
#[derive(ToSchema)]
pub(super) enum AgentTypeWord {
    #[schema(rename = "HUMA-0.1")]
    Huma01,
}

/// Where an agent is in its life.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum StateWord {
    Created,
    Connected,
    Active,
    HandingOff,
    Ended,
}

/// What an agent is busy with.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum ActivityWord {
    Idle,
    Thinking,
    Acting,
}

/// Where an agent is in its call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum StageWord {
    Joining,
    InCall,
    Leaving,
}

/// How the process is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum HealthWord {
    Ok,
    Ready,
    Draining,
}

/// One server-sent event of a room.
#[derive(ToSchema)]
#[schema(as = RoomEvent)]
pub(in crate::api) struct RoomEventSchema {
    /// JSON: `{"type": "participants", "participants": […]}`, or an event of an agent in the room,
    /// as its clients get it, with its `agentId`
    /// and `agentName`, the name that the participants know it by.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// One server-sent event of an owner's agents.
#[derive(ToSchema)]
#[schema(as = FeedEvent)]
pub(in crate::api) struct FeedEventSchema {
    /// JSON: `{"agentId", "agentName", "event"}`, where `event` is what the agent's clients get.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// Who has said something.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum SpeakerWord {
    Participant,
    Agent,
}

/// Who has taken a turn as over: the model, or we in its place.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum TakerWord {
    Model,
    Gateway,
}

/// How a tool call went.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum OutcomeWord {
    Completed,
    Failed,
    Timeout,
    Interrupted,
    Ended,
}

/// What a webhook may be told of.
#[derive(ToSchema)]
#[schema(as = WebhookEvent)]
pub(super) enum WebhookEventWord {
    #[schema(rename = "call.started")]
    CallStarted,
    #[schema(rename = "call.ended")]
    CallEnded,
    #[schema(rename = "agent.ended")]
    AgentEnded,
    #[schema(rename = "transcriber.failed")]
    TranscriberFailed,
}
