//! Between the wire and the agent, and nothing else.

use std::time::Duration;

use serde_json::Value;

use super::wire::{
    AGENT_TYPE, AgentBody, AgentChangeBody, CallBody, ClientMessage, EventKind, FeedEvent,
    Metadata, ModelBody, NewAgentBody, ParticipantBody, RoomEvent, ServerEvent, SuccessorBody,
    TurnDetectionBody, raw_json,
};
use crate::agent::{
    AgentSpec, BargeIn, CallView, Command, ContextUpdate, Hearing, JoinRequest, ModelSpec,
    Notification, Participant, ToolResult, ToolSpec, TurnDetection, VoiceStatus,
};
use crate::ids::{AgentId, CallId, ToolCallId};
use crate::privacy::{Pii, Secret};
use crate::runtime::{
    AgentChange, AgentNews, AgentView, Heir, NewAgent, NewMetadata, RoomNews, Stamped,
};

/// What a new agent is made from.
pub(super) fn new_agent(body: NewAgentBody) -> NewAgent {
    let NewAgentBody { name, metadata, metadata_json, ttl_seconds, user_id, .. } = body;
    NewAgent {
        spec: spec_of(name, metadata),
        metadata_json,
        ttl: ttl_seconds.map(Duration::from_secs),
        user_id,
    }
}

/// What is to change of an agent.
pub(super) fn agent_change(body: AgentChangeBody) -> AgentChange {
    let AgentChangeBody { name, metadata, ttl_seconds, user_id } = body;
    AgentChange {
        name,
        metadata: metadata
            .map(|(metadata, json)| NewMetadata { json, spec: spec_of(String::new(), metadata) }),
        ttl: ttl_seconds.map(|seconds| seconds.map(Duration::from_secs)),
        user_id,
    }
}

/// Who goes on in the place of an agent.
pub(super) fn heir(body: SuccessorBody) -> Heir {
    match body {
        SuccessorBody::Known(id) => Heir::Known(AgentId::new(id)),
        SuccessorBody::New(body) => Heir::New(Box::new(new_agent(*body))),
    }
}

fn spec_of(name: String, metadata: Metadata) -> AgentSpec {
    let instructions = instructions_of(&metadata);
    let Metadata { tools, voice_enabled, voice_id, model, recording, .. } = metadata;
    let tools = tools.into_iter().map(|tool| ToolSpec {
        name: tool.name,
        description: tool.description,
        parameters_json: tool.parameters_json,
        timeout: Duration::from_secs(tool.timeout_seconds),
        filler: tool.filler,
    });
    AgentSpec {
        name,
        instructions,
        tools: tools.collect(),
        voice_enabled,
        model: model_spec(model, voice_id),
        recording,
    }
}

fn model_spec(model: ModelBody, voice_id: Option<String>) -> ModelSpec {
    let ModelBody { profile, voice, greeting, turn_detection, barge_in, trim_silence, hearing } =
        model;
    let usual = ModelSpec::default();
    ModelSpec {
        profile,
        voice: voice.or(voice_id),
        greeting,
        turn_detection: match turn_detection {
            TurnDetectionBody::Profile => TurnDetection::Profile,
            TurnDetectionBody::Model(json) => TurnDetection::Model { json },
            TurnDetectionBody::Gateway { silence_ms } => TurnDetection::Gateway {
                silence: silence_ms.map_or(TurnDetection::SILENCE, Duration::from_millis),
            },
        },
        barge_in: BargeIn {
            enabled: barge_in.enabled.unwrap_or(usual.barge_in.enabled),
            min_speech: barge_in
                .min_speech_ms
                .map_or(usual.barge_in.min_speech, Duration::from_millis),
            echo_guard: barge_in.echo_guard.unwrap_or(usual.barge_in.echo_guard),
        },
        trim_silence: trim_silence.unwrap_or(usual.trim_silence),
        hearing: Hearing {
            detector: hearing.detector.unwrap_or(usual.hearing.detector),
            noise_suppression: hearing.noise_suppression.unwrap_or(usual.hearing.noise_suppression),
            gain_control: hearing.gain_control.unwrap_or(usual.hearing.gain_control),
        },
    }
}

/// The whole prompt: each part that is there under a heading of its own.
fn instructions_of(metadata: &Metadata) -> String {
    let parts = [
        ("Role", &metadata.class_name),
        ("Personality", &metadata.personality),
        ("Instructions", &metadata.instructions),
    ];
    let parts = parts.into_iter().filter(|(_, text)| !text.trim().is_empty());
    let parts: Vec<_> = parts.map(|(title, text)| format!("# {title}\n{}", text.trim())).collect();
    parts.join("\n\n")
}

/// An agent as its owner sees it at one moment.
pub(super) fn agent_body(view: AgentView, moment: Moment) -> AgentBody {
    let AgentView { record, snapshot } = view;
    AgentBody {
        id: record.id.to_string(),
        name: record.spec.name,
        agent_type: AGENT_TYPE,
        metadata: raw_json(record.metadata_json),
        state: snapshot.phase.as_str(),
        activity: snapshot.activity.as_str(),
        call: snapshot.call.map(|call| call_body(call, moment)),
        clients: snapshot.clients,
        created_at: timestamp(record.created_at_ms),
        expires_at: record.expires_at_ms.map(timestamp),
        user_id: record.user_id,
    }
}

/// One moment on both clocks, to tell the time of instants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: std::time::Instant,
    pub(super) unix_ms: u64,
}

fn call_body(call: CallView, moment: Moment) -> CallBody {
    let age = moment.now.saturating_duration_since(call.since);
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    CallBody {
        id: call.id.to_string(),
        room_url: call.room_url,
        stage: call.stage.as_str(),
        participants: participant_bodies(&call.participants),
        since: timestamp(moment.unix_ms.saturating_sub(age_ms)),
    }
}

pub(super) fn participant_bodies(participants: &[Participant]) -> Vec<ParticipantBody> {
    let body =
        |one: &Participant| ParticipantBody { id: one.id.to_string(), name: one.name.clone() };
    participants.iter().map(body).collect()
}

/// What a message asks of the agent, in order; if one is refused, the rest falls away.
///
/// `call` is the id that a stay in a call would have.
pub(super) fn commands(message: ClientMessage, call: CallId) -> Vec<Command> {
    match message {
        ClientMessage::Context(body) => vec![Command::Context(ContextUpdate {
            name: body.name,
            description: Pii::new(body.description),
            context_json: Pii::new(body.context_json),
            images: body.images.into_iter().map(Pii::new).collect(),
            triggering: body.triggering,
        })],
        ClientMessage::ToolResult(body) => {
            // The new state must be known before the agent goes on, so it is the state that
            // makes it go on, if there is one.
            let images = body.images.into_iter().map(Pii::new).collect();
            let state = body.context_json.map(|context_json| {
                Command::Context(ContextUpdate {
                    name: "tool-result".to_owned(),
                    description: Pii::new(String::new()),
                    context_json: Pii::new(context_json),
                    images,
                    triggering: body.respond,
                })
            });
            let result = Command::ToolResult(ToolResult {
                id: ToolCallId::new(body.tool_call_id),
                outcome: body.outcome.map(Pii::new).map_err(Pii::new),
                canceled: body.canceled,
                respond: body.respond && state.is_none(),
            });
            std::iter::once(result).chain(state).collect()
        }
        ClientMessage::Join(body) => vec![Command::Join(JoinRequest {
            call,
            room_url: body.room_url,
            token: body.token.map(Secret::new),
            participant_name: body.participant_name,
        })],
        ClientMessage::Leave => vec![Command::Leave],
        ClientMessage::Interrupt => vec![Command::Interrupt],
        ClientMessage::Say(text) => vec![Command::Say(Pii::new(text))],
        ClientMessage::SetMuted(muted) => vec![Command::SetMuted(muted)],
        ClientMessage::AddonTool => Vec::new(),
    }
}

/// What clients are told.
pub(super) fn server_event(stamped: &Stamped) -> ServerEvent<'_> {
    ServerEvent {
        kind: event_kind(&stamped.notification),
        seq: Some(stamped.seq),
        timestamp: timestamp(stamped.at_ms),
    }
}

fn event_kind(notification: &Notification) -> EventKind<'_> {
    use Notification as N;
    match notification {
        N::Status(activity) => EventKind::Status { status: activity.as_str() },
        N::State { from, to, reason } => {
            EventKind::State { from: from.as_str(), to: to.as_str(), reason }
        }
        N::ToolCall { id, name, arguments_json, timeout_seconds } => EventKind::ToolCall {
            tool_call_id: id.as_str(),
            tool_name: name,
            arguments: arguments(arguments_json),
            timeout_seconds: *timeout_seconds,
        },
        N::CancelToolCall { id, reason } => {
            EventKind::CancelToolCall { tool_call_id: id.as_str(), reason: reason.as_str() }
        }
        N::RoomJoined { call, room_url, participants } => EventKind::RoomJoined {
            call_id: call.as_str(),
            room_url,
            participants: participant_bodies(participants),
        },
        N::RoomLeft { call, room_url, reason } => {
            EventKind::RoomLeft { call_id: call.as_str(), room_url, reason }
        }
        N::ParticipantJoined(Participant { id, name }) => {
            EventKind::ParticipantJoined { participant_id: id.as_str(), name }
        }
        N::ParticipantLeft { participant: Participant { id, name }, reason } => {
            EventKind::ParticipantLeft { participant_id: id.as_str(), name, reason }
        }
        N::RoomMessage { participant: Participant { id, name }, text } => {
            EventKind::RoomMessage { participant_id: id.as_str(), name, text: text.expose() }
        }
        N::VadStart { participant, at_ms } => {
            EventKind::VadStart { participant_id: participant.as_str(), at_ms: *at_ms }
        }
        N::VadEnd { participant, at_ms } => {
            EventKind::VadEnd { participant_id: participant.as_str(), at_ms: *at_ms }
        }
        N::Transcript { participant, utterance, text, is_final } => EventKind::Transcript {
            participant_id: participant.as_str(),
            text: text.expose(),
            is_final: *is_final,
            utterance_id: utterance.as_str(),
        },
        N::Speak { utterance, text, is_final } => EventKind::Speak {
            speech_id: utterance.as_str(),
            text: text.expose(),
            is_final: *is_final,
        },
        N::SpeakStatus { utterance, status, heard_ms, text } => EventKind::SpeakStatus {
            speech_id: utterance.as_str(),
            status: status.as_str(),
            heard_ms: *heard_ms,
            text: text.expose(),
        },
        N::VoiceStatus { status, reason } => {
            EventKind::VoiceStatus { status: voice_word(*status), reason: reason.as_deref() }
        }
        N::TranscriberFatalError { code, message } => {
            EventKind::TranscriberFatalError { code, message }
        }
        N::Handoff { to, reason } => EventKind::Handoff { to_agent_id: to.as_str(), reason },
        N::Error { code, message } => EventKind::Error { code, message },
    }
}

/// What a room's page is told; `None` for what only the agent's clients may know.
pub(super) fn room_event(news: &RoomNews) -> Option<RoomEvent<'_>> {
    match news {
        RoomNews::Participants(participants) => Some(RoomEvent::Participants {
            kind: "participants",
            participants: participant_bodies(participants),
        }),
        RoomNews::Notification { agent, name, stamped } => match &stamped.notification {
            Notification::Status(_)
            | Notification::VadStart { .. }
            | Notification::VadEnd { .. }
            | Notification::Transcript { .. }
            | Notification::Speak { .. }
            | Notification::SpeakStatus { .. } => {
                let event = server_event(stamped);
                Some(RoomEvent::Agent { agent_id: agent.as_str(), agent_name: name, event })
            }
            Notification::State { .. }
            | Notification::ToolCall { .. }
            | Notification::CancelToolCall { .. }
            | Notification::RoomJoined { .. }
            | Notification::RoomLeft { .. }
            | Notification::ParticipantJoined(_)
            | Notification::ParticipantLeft { .. }
            | Notification::RoomMessage { .. }
            | Notification::VoiceStatus { .. }
            | Notification::TranscriberFatalError { .. }
            | Notification::Handoff { .. }
            | Notification::Error { .. } => None,
        },
    }
}

/// What an owner is told of an agent.
pub(super) fn feed_event(news: &AgentNews) -> FeedEvent<'_> {
    FeedEvent {
        agent_id: news.agent.as_str(),
        agent_name: &news.name,
        event: server_event(&news.stamped),
    }
}

/// ISO-8601 in UTC, to the millisecond.
pub(super) fn timestamp(unix_ms: u64) -> String {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let timestamp = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    timestamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// A model may write arguments that are no JSON; clients still get an object, with its words.
pub(super) fn arguments(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Object(arguments)) => Value::Object(arguments),
        Ok(_) | Err(_) => serde_json::json!({ "unparsed": text }),
    }
}

const fn voice_word(status: VoiceStatus) -> &'static str {
    match status {
        VoiceStatus::Joining => "joining",
        VoiceStatus::Joined => "joined",
        VoiceStatus::Left => "left",
        VoiceStatus::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::agent::{Activity, AgentRecord, CallStage, Phase, Snapshot, SpeakStatus};
    use crate::api::wire::{MESSAGE, to_text};
    use crate::ids::{AgentId, ParticipantId, UserId, UtteranceId};

    #[test]
    fn times_are_told_in_utc_to_the_millisecond() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(1_767_323_045_006), "2026-01-02T03:04:05.006Z");
        assert!(timestamp(u64::MAX).starts_with("9999-"));
    }

    #[test]
    fn the_prompt_is_put_together_from_the_parts_that_are_there() {
        let metadata = Metadata {
            class_name: "Dealer".into(),
            personality: "  ".into(),
            instructions: "Deal.\n".into(),
            ..Metadata::default()
        };
        assert_eq!(instructions_of(&metadata), "# Role\nDealer\n\n# Instructions\nDeal.");
        assert_eq!(instructions_of(&Metadata::default()), "");
    }

    #[test]
    fn a_body_becomes_a_spec() {
        let body = json!({
            "name": "Ida", "agentType": "HUMA-0.1", "ttlSeconds": 9, "userId": "u",
            "metadata": {
                "instructions": "Be brief.", "voice": {"enabled": true, "voiceId": "v"},
                "tools": [{"name": "look", "timeoutSeconds": 7}],
            },
        });
        let body = NewAgentBody::parse(body.to_string().as_bytes()).expect("in order");
        let new = new_agent(body);
        assert_eq!((new.ttl, new.user_id.as_deref()), (Some(Duration::from_secs(9)), Some("u")));
        assert_eq!(new.spec.model.voice.as_deref(), Some("v"));
        assert!(new.spec.voice_enabled);
        assert_eq!(new.spec.tools[0].timeout, Duration::from_secs(7));
    }

    #[test]
    fn a_result_with_new_state_lets_the_state_start_the_next_round() {
        let result = |extra: Value| {
            let mut payload = json!({"type": "tool-result", "toolCallId": "tc_1"});
            payload
                .as_object_mut()
                .expect("an object")
                .extend(extra.as_object().expect("one").clone());
            let message = ClientMessage::parse(MESSAGE, &payload).expect("in order");
            let asks = commands(message, CallId::new("call_1"));
            asks.into_iter()
                .map(|command| {
                    if let Command::ToolResult(result) = &command {
                        return ("result", result.respond);
                    }
                    let Command::Context(context) = command else { panic!("{command:?}") };
                    ("context", context.triggering)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(result(json!({})), [("result", true)]);
        assert_eq!(result(json!({"context": {}})), [("result", false), ("context", true)]);
        let quiet = json!({"context": {}, "skipImmediateProcessing": true});
        assert_eq!(result(quiet), [("result", false), ("context", false)]);
    }

    #[test]
    fn arguments_that_are_no_object_still_arrive_as_one() {
        assert_eq!(arguments(r#"{"a":1}"#), json!({"a": 1}));
        assert_eq!(arguments("[1]"), json!({"unparsed": "[1]"}));
        assert_eq!(arguments("{\"a\":"), json!({"unparsed": "{\"a\":"}));
    }

    #[test]
    fn an_agent_is_shown_with_its_call() {
        let now = crate::sys::clock::now();
        let view = AgentView {
            record: AgentRecord {
                id: AgentId::new("ag_1"),
                owner: UserId::new("usr_1"),
                metadata_json: r#"{"z": 1, "a": 2}"#.into(),
                user_id: None,
                created_at_ms: 0,
                expires_at_ms: Some(1_000),
                spec: AgentSpec { name: "Ida".into(), ..AgentSpec::default() },
            },
            snapshot: Snapshot {
                phase: Phase::Active,
                activity: Activity::Thinking,
                call: Some(CallView {
                    id: CallId::new("call_1"),
                    room_url: "rooms/a".into(),
                    stage: CallStage::InCall,
                    participants: vec![ann()],
                    since: now,
                }),
                clients: 1,
            },
        };
        let text = to_text(&agent_body(
            view,
            Moment { now: now + Duration::from_millis(1_500), unix_ms: 10_000 },
        ));
        assert_eq!(
            text,
            concat!(
                r#"{"id":"ag_1","name":"Ida","agentType":"HUMA-0.1","metadata":{"z": 1, "a": 2},"#,
                r#""state":"active","activity":"thinking","call":{"id":"call_1","#,
                r#""roomUrl":"rooms/a","stage":"in_call","#,
                r#""participants":[{"id":"p_1","name":"Ann"}],"#,
                r#""since":"1970-01-01T00:00:08.500Z"},"clients":1,"#,
                r#""createdAt":"1970-01-01T00:00:00.000Z","expiresAt":"1970-01-01T00:00:01.000Z","#,
                r#""userId":null}"#
            )
        );
    }

    #[test]
    fn each_notification_has_its_shape_on_the_wire() {
        let call = CallId::new("call_1");
        let utterance = UtteranceId::new("utt_1");
        let room_url = "rooms/a".to_owned();
        let told = [
            Notification::State { from: Phase::Created, to: Phase::Connected, reason: "client" },
            Notification::RoomJoined { call, room_url, participants: vec![ann()] },
            Notification::ParticipantJoined(ann()),
            Notification::VadStart { participant: ParticipantId::new("p_1"), at_ms: 520 },
            Notification::SpeakStatus {
                utterance,
                status: SpeakStatus::Interrupted,
                heard_ms: 1_720,
                text: Pii::new("Once".into()),
            },
            Notification::VoiceStatus { status: VoiceStatus::Error, reason: Some("full".into()) },
            Notification::Error { code: "AGENT_EXPIRED", message: "over".into() },
        ];
        let shapes: Vec<_> = told.into_iter().map(shape).collect();
        let expected = [
            r#"{"type":"state","from":"created","to":"connected","reason":"client""#,
            concat!(
                r#"{"type":"room_joined","callId":"call_1","roomUrl":"rooms/a","#,
                r#""participants":[{"id":"p_1","name":"Ann"}]"#
            ),
            r#"{"type":"participant_joined","participantId":"p_1","name":"Ann""#,
            r#"{"type":"vad_start","participantId":"p_1","atMs":520"#,
            concat!(
                r#"{"type":"speak-status","speechId":"utt_1","status":"interrupted","#,
                r#""heardMs":1720,"text":"Once""#
            ),
            r#"{"type":"voice-status","status":"error","reason":"full""#,
            r#"{"type":"error","code":"AGENT_EXPIRED","message":"over""#,
        ];
        assert_eq!(shapes, expected.map(|shape| format!("{shape}{TAIL}")));
    }

    #[test]
    fn a_room_page_is_not_told_of_tools() {
        let news = |notification| RoomNews::Notification {
            agent: AgentId::new("ag_1"),
            name: "Ada".into(),
            stamped: Arc::new(Stamped { seq: 1, at_ms: 0, notification }),
        };
        let tool = Notification::ToolCall {
            id: ToolCallId::new("tc_1"),
            name: "look".into(),
            arguments_json: "{}".into(),
            timeout_seconds: 30,
        };
        assert!(room_event(&news(tool)).is_none());
        let status = news(Notification::Status(Activity::Idle));
        let text = to_text(&room_event(&status).expect("shown"));
        assert!(
            text.starts_with(r#"{"agentId":"ag_1","agentName":"Ada","type":"status""#),
            "{text}"
        );
        let everyone = RoomNews::Participants(vec![ann()]);
        let text = to_text(&room_event(&everyone).expect("shown"));
        assert_eq!(text, r#"{"type":"participants","participants":[{"id":"p_1","name":"Ann"}]}"#);
    }

    const TAIL: &str = r#","seq":3,"timestamp":"1970-01-01T00:00:00.000Z"}"#;

    fn shape(notification: Notification) -> String {
        to_text(&server_event(&Stamped { seq: 3, at_ms: 0, notification }))
    }

    fn ann() -> Participant {
        Participant { id: ParticipantId::new("p_1"), name: "Ann".into() }
    }
}
