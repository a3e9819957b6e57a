//! What clients send, read as strictly as the real server reads it.

use serde_json::{Map, Value};

use crate::models::wire::{ClientEvent, DecodeError, ErrorBody, ErrorEvent, Message, ServerEvent};

/// Why an event is refused. The session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: &'static str,
    message: String,
    param: Option<String>,
}

/// An event that is well formed.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// By which an `error` names it.
    pub(super) event_id: Option<String>,
    /// The event.
    pub(super) event: ClientEvent<'a>,
    /// The session of a `session.update`, as it was sent.
    pub(super) session: Value,
}

impl Refusal {
    /// A refusal in the words of the protocol.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None }
    }

    /// Says which field is at fault.
    pub(super) fn at(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// A field has a value that does not do.
    pub(super) fn invalid(param: &str, message: impl Into<String>) -> Self {
        Self::new("invalid_value", message).at(param)
    }

    /// A field that must be there is not.
    pub(super) fn missing(param: &str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        Self::new("missing_required_parameter", message).at(param)
    }

    /// No item has this id.
    pub(super) fn no_item(code: &'static str, id: &str) -> Self {
        Self::new(code, format!("There is no item with id '{id}' in the conversation."))
            .at("item_id")
    }

    /// The refusal as an event.
    pub(super) fn event(self, event_id: Option<String>) -> ServerEvent<'static> {
        ServerEvent::Error(ErrorEvent {
            error: ErrorBody {
                kind: "invalid_request_error".to_owned(),
                code: Some(self.code.to_owned()),
                message: self.message,
                param: self.param,
                event_id,
            },
        })
    }
}

/// Reads a text frame. A refusal comes with the id of the event it refuses.
pub(super) fn read(text: &str) -> Result<Asked<'_>, (Refusal, Option<String>)> {
    let Message { event_id, event } = ClientEvent::decode(text).map_err(no_event)?;
    let refuse = |refusal| (refusal, event_id.clone());
    // Sound comes often and in bulk: it is not read a second time.
    if matches!(event, ClientEvent::Append(_)) {
        return Ok(Asked { event_id, event, session: Value::Null });
    }
    let mut fields: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| refuse(Refusal::new("invalid_event", error.to_string())))?;
    let Some((_, known)) = EVENTS.iter().find(|(kind, _)| *kind == event.type_name()) else {
        return Err(refuse(unknown_event(event.type_name())));
    };
    only_known(&fields, known, "").map_err(refuse)?;
    if let Some(Value::Object(response)) = fields.get("response") {
        only_known(response, RESPONSE, "response.").map_err(refuse)?;
    }
    let session = fields.remove("session").unwrap_or_default();
    Ok(Asked { event_id, event, session })
}

/// Refuses the first field that is not in the list.
pub(super) fn only_known(
    fields: &Map<String, Value>,
    known: &[&str],
    path: &str,
) -> Result<(), Refusal> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let param = format!("{path}{name}");
            Err(Refusal::new("unknown_parameter", format!("Unknown parameter: '{param}'."))
                .at(param))
        }
    }
}

fn no_event(error: DecodeError) -> (Refusal, Option<String>) {
    match error {
        DecodeError::Shape(error) => {
            let text = error.to_string();
            match missing_field(&text) {
                Some(field) => (Refusal::missing(field), None),
                None => (Refusal::new("invalid_event", format!("Not an event: {text}.")), None),
            }
        }
        DecodeError::Body { event_id, source, .. } => {
            let text = source.to_string();
            let refusal = match missing_field(&text) {
                Some(field) => Refusal::missing(field),
                None => Refusal::new("invalid_value", format!("Invalid event: {text}.")),
            };
            (refusal, event_id)
        }
    }
}

/// The field a decoder complains of.
fn missing_field(complaint: &str) -> Option<&str> {
    complaint.strip_prefix("missing field `")?.split('`').next()
}

fn unknown_event(kind: &str) -> Refusal {
    let known: Vec<String> = EVENTS.iter().map(|(kind, _)| format!("'{kind}'")).collect();
    let message = format!("Invalid value: '{kind}'. Supported values are: {}.", known.join(", "));
    Refusal::invalid("type", message)
}

/// What each event may have.
const EVENTS: &[(&str, &[&str])] = &[
    ("session.update", &["type", "event_id", "session"]),
    ("input_audio_buffer.append", &["type", "event_id", "audio"]),
    ("input_audio_buffer.commit", &["type", "event_id"]),
    ("input_audio_buffer.clear", &["type", "event_id"]),
    ("conversation.item.create", &["type", "event_id", "item", "previous_item_id"]),
    ("conversation.item.retrieve", &["type", "event_id", "item_id"]),
    (
        "conversation.item.truncate",
        &["type", "event_id", "item_id", "content_index", "audio_end_ms"],
    ),
    ("conversation.item.delete", &["type", "event_id", "item_id"]),
    ("response.create", &["type", "event_id", "response"]),
    ("response.cancel", &["type", "event_id", "response_id"]),
];
/// What a response may ask for.
const RESPONSE: &[&str] = &[
    "output_modalities",
    "instructions",
    "audio",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "max_output_tokens",
    "conversation",
    "metadata",
    "prompt",
    "input",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_ours_is_read() {
        let asked = read(r#"{"type":"response.cancel","event_id":"e1"}"#).unwrap();
        assert_eq!((asked.event_id.as_deref(), asked.event.type_name()), {
            (Some("e1"), "response.cancel")
        });
    }

    #[test]
    fn what_is_no_event_is_refused_by_name() {
        for (text, code, param) in [
            ("hello", "invalid_event", None),
            ("[]", "invalid_event", None),
            ("{}", "missing_required_parameter", Some("type")),
            (r#"{"type":"conversation.dance"}"#, "invalid_value", Some("type")),
            (r#"{"type":"output_audio_buffer.clear"}"#, "invalid_value", Some("type")),
            (
                r#"{"type":"input_audio_buffer.append"}"#,
                "missing_required_parameter",
                Some("audio"),
            ),
            (r#"{"type":"response.cancel","reason":"x"}"#, "unknown_parameter", Some("reason")),
            (
                r#"{"type":"response.create","response":{"modalities":["text"]}}"#,
                "unknown_parameter",
                Some("response.modalities"),
            ),
        ] {
            let (refusal, _) = read(text).unwrap_err();
            assert_eq!((refusal.code, refusal.param.as_deref()), (code, param), "{text}");
        }
    }

    #[test]
    fn a_refusal_names_the_event_it_refuses() {
        let text = r#"{"type":"conversation.item.delete","event_id":"mine"}"#;
        let (refusal, event_id) = read(text).unwrap_err();
        let event = refusal.event(event_id).encode(None);
        assert!(event.contains(r#""event_id":"mine""#), "{event}");
        assert!(event.contains(r#""type":"invalid_request_error""#), "{event}");
    }
}
