//! The AsyncAPI document of the agent protocol: served as it is, and held to the code by tests.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(document))
}

/// What is said over Socket.IO and WebSockets
#[utoipa::path(
    get,
    path = "/asyncapi.yaml",
    operation_id = "asyncApi",
    tag = "description",
    responses((status = 200, description = "An AsyncAPI 3 document.", body = Object,
        content_type = "application/yaml")),
)]
async fn document() -> Response {
    ([(header::CONTENT_TYPE, YAML)], DOCUMENT).into_response()
}

const DOCUMENT: &str = include_str!("../../docs/asyncapi.yaml");

/// RFC 9512.
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Map, Value, json};

    use super::*;
    use crate::api::wire::{
        Ack, AckFrame, ClientMessage, EventKind, MESSAGE, MESSAGE_TYPES, ParticipantBody,
        ServerEvent, read_frame,
    };

    #[test]
    fn every_message_of_a_client_is_described_and_no_other() {
        let known: BTreeSet<_> = MESSAGE_TYPES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(names_at(&document(), "/channels/message/messages"), known);
    }

    #[test]
    fn every_event_is_described_and_no_other() {
        let told: BTreeSet<_> = events().iter().map(|event| type_of(event).to_owned()).collect();
        assert_eq!(names_at(&document(), "/channels/event/messages"), told);
    }

    #[test]
    fn a_websocket_carries_all_of_them_and_acknowledgements() {
        let document = document();
        let mut all = names_at(&document, "/channels/message/messages");
        all.extend(names_at(&document, "/channels/event/messages"));
        all.insert("ack".into());
        assert_eq!(names_at(&document, "/channels/websocket/messages"), all);
        let mut carried = BTreeSet::new();
        for operation in ["sayOverWebSocket", "tellOverWebSocket"] {
            let messages = &document["operations"][operation]["messages"];
            let names = messages.as_array().expect("a list").iter();
            carried.extend(names.map(|name| last_part(&name["$ref"]).to_owned()));
        }
        assert_eq!(carried, all);
        all.insert("acknowledgement".into());
        assert_eq!(names_at(&document, "/components/messages"), all, "and nothing is left over");
    }

    #[test]
    fn every_example_of_a_client_is_understood() {
        let document = document();
        for (name, _) in MESSAGE_TYPES {
            let examples = examples(&document, name);
            for example in &examples {
                let read = ClientMessage::parse(MESSAGE, example);
                assert!(read.is_ok(), "{name}: {example}: {read:?}");
                assert_eq!(mistakes(&document, name, example), [""; 0], "{name}: {example}");
            }
            let shown = examples.iter().any(|example| type_of(example) == name);
            assert!(shown, "{name} has no example");
        }
    }

    #[test]
    fn every_example_of_an_event_is_valid() {
        let document = document();
        let mut names = names_at(&document, "/channels/event/messages");
        names.extend(["ack".into(), "acknowledgement".into()]);
        for name in names {
            let examples = examples(&document, &name);
            assert!(!examples.is_empty(), "{name} has no example");
            for example in &examples {
                assert_eq!(mistakes(&document, &name, example), [""; 0], "{name}: {example}");
            }
        }
    }

    #[test]
    fn what_the_gateway_says_is_valid_and_described_to_the_last_field() {
        let document = document();
        for event in events() {
            let name = type_of(&event);
            assert_eq!(mistakes(&document, name, &event), [""; 0], "{event}");
            let payload = &message(&document, name)["payload"];
            let mut described = BTreeSet::new();
            properties(&document, payload, &mut described);
            for field in event.as_object().expect("an object").keys() {
                assert!(described.contains(field), "{name} says {field}, which is not described");
            }
        }
        for frame in acknowledgements() {
            assert_eq!(mistakes(&document, "ack", &frame), [""; 0], "{frame}");
        }
    }

    #[test]
    fn what_is_refused_is_not_valid() {
        let document = document();
        for message in [
            json!({"type": "huma-0.1-event", "content": {}}),
            json!({"type": "huma-0.1-event", "content": {"type": "tool-result"}}),
            json!({"type": "new-message", "content": {}}),
            json!({"type": "new-message", "content": {"images": [{"url": "https://a/b.png"}]}}),
            json!({"type": "context-update", "name": "n", "context": {}, "description": ""}),
            json!({"type": "tool-result", "success": true}),
            json!({"type": "join-room", "roomUrl": ""}),
            json!({"type": "say"}),
            json!({"type": "set-muted", "muted": "yes"}),
        ] {
            assert!(ClientMessage::parse(MESSAGE, &message).is_err(), "{message}");
            assert_ne!(mistakes(&document, type_of(&message), &message), [""; 0], "{message}");
        }
    }

    /// One event of every kind, as it is sent.
    fn events() -> Vec<Value> {
        let kinds = std::iter::successors(next(None), |kind| next(Some(kind)));
        let event =
            |kind| ServerEvent { kind, seq: Some(1), timestamp: crate::api::convert::timestamp(0) };
        kinds.map(|kind| serde_json::to_value(event(kind)).expect("JSON")).collect()
    }

    /// The kind of event after this one; a new kind must take its place here.
    fn next(kind: Option<&EventKind<'_>>) -> Option<EventKind<'static>> {
        use EventKind as E;
        let Some(kind) = kind else { return Some(E::Status { status: "idle" }) };
        let (participant_id, name, text) = ("p_1", "Ann", "hi");
        let (call_id, room_url, reason) = ("call_1", "rooms/a", "left");
        let (code, message) = ("INTERNAL_ERROR", "it has failed");
        Some(match kind {
            E::Status { .. } => E::State { from: "created", to: "connected", reason },
            E::State { .. } => E::ToolCall {
                tool_call_id: "tc_1",
                tool_name: "look",
                arguments: json!({}),
                timeout_seconds: 30,
            },
            E::ToolCall { .. } => E::CancelToolCall { tool_call_id: "tc_1", reason: "timeout" },
            E::CancelToolCall { .. } => {
                let ann = ParticipantBody { id: participant_id.into(), name: name.into() };
                E::RoomJoined { call_id, room_url, participants: vec![ann] }
            }
            E::RoomJoined { .. } => E::RoomLeft { call_id, room_url, reason },
            E::RoomLeft { .. } => E::ParticipantJoined { participant_id, name },
            E::ParticipantJoined { .. } => E::ParticipantLeft { participant_id, name, reason },
            E::ParticipantLeft { .. } => E::RoomMessage { participant_id, name, text },
            E::RoomMessage { .. } => E::VadStart { participant_id, at_ms: 1 },
            E::VadStart { .. } => E::VadEnd { participant_id, at_ms: 2 },
            E::VadEnd { .. } => {
                E::Transcript { participant_id, text, is_final: true, utterance_id: "utt_1" }
            }
            E::Transcript { .. } => E::Speak { speech_id: "utt_2", text, is_final: false },
            E::Speak { .. } => {
                E::SpeakStatus { speech_id: "utt_2", status: "finished", heard_ms: 9, text }
            }
            E::SpeakStatus { .. } => E::VoiceStatus { status: "error", reason: Some(reason) },
            E::VoiceStatus { .. } => E::TranscriberFatalError { code, message },
            E::TranscriberFatalError { .. } => E::Handoff { to_agent_id: "ag_2", reason },
            E::Handoff { .. } => E::Error { code, message },
            E::Error { .. } => return None,
        })
    }

    fn acknowledgements() -> Vec<Value> {
        let taken = Ack { ok: true, code: None, message: None };
        let refused = Ack { ok: false, code: Some("NOT_IN_CALL"), message: Some("in no call") };
        let names = [r#"{"ack":7}"#, r#"{"ack":"seven"}"#];
        let name = |text| read_frame(text).expect("a frame").0.expect("a name");
        let frames = names.iter().flat_map(|text| {
            [AckFrame::new(name(text), &taken), AckFrame::new(name(text), &refused)]
                .map(|frame| serde_json::to_value(frame).expect("JSON"))
        });
        frames.collect()
    }

    fn document() -> Value {
        serde_saphyr::from_str(DOCUMENT).expect("YAML")
    }

    fn names_at(document: &Value, pointer: &str) -> BTreeSet<String> {
        let messages = document.pointer(pointer).and_then(Value::as_object).expect("a map");
        for (name, message) in messages {
            // A reference leads to a message of the same name, or of the same meaning.
            if let Some(reference) = message.get("$ref").and_then(Value::as_str) {
                let found = document.pointer(reference.trim_start_matches('#'));
                assert!(found.is_some(), "{name} refers to {reference}");
            }
        }
        messages.keys().cloned().collect()
    }

    fn message<'a>(document: &'a Value, name: &str) -> &'a Value {
        let message = &document["components"]["messages"][name];
        match message.get("$ref").and_then(Value::as_str) {
            Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("there"),
            None => message,
        }
    }

    fn examples(document: &Value, name: &str) -> Vec<Value> {
        let examples = message(document, name)["examples"].as_array().expect("examples");
        examples.iter().map(|example| example["payload"].clone()).collect()
    }

    /// What is wrong with a value by the schema of a message.
    fn mistakes(document: &Value, name: &str, value: &Value) -> Vec<String> {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "components": document["components"],
            "allOf": [message(document, name)["payload"]],
        });
        let schema = jsonschema::validator_for(&schema).expect("a schema");
        schema.iter_errors(value).map(|error| error.to_string()).collect()
    }

    /// The fields that a schema describes, by whichever of its parts.
    fn properties(document: &Value, schema: &Value, found: &mut BTreeSet<String>) {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let there = document.pointer(reference.trim_start_matches('#')).expect("there");
            properties(document, there, found);
        }
        let own = schema.get("properties").and_then(Value::as_object);
        found.extend(own.into_iter().flat_map(Map::keys).cloned());
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            properties(document, part, found);
        }
    }

    fn type_of(message: &Value) -> &str {
        message["type"].as_str().expect("a type")
    }

    fn last_part(reference: &Value) -> &str {
        reference.as_str().expect("a reference").rsplit('/').next().unwrap_or_default()
    }
}
