//! What a Socket.IO client sends, in both generations of the protocol.

use serde_json::{Map, Value, json};

use super::fields::unfit;

/// A message, understood.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::api) enum ClientMessage {
    Context(ContextBody),
    ToolResult(ToolResultBody),
    Join(JoinBody),
    Leave,
    Interrupt,
    Say(String),
    SetMuted(bool),
}

/// What has happened in the client's world.
#[derive(Clone, PartialEq)]
pub(in crate::api) struct ContextBody {
    pub(in crate::api) name: String,
    pub(in crate::api) description: String,
    /// The whole state, a JSON object as text.
    pub(in crate::api) context_json: String,
    pub(in crate::api) triggering: bool,
}

/// The outcome of a tool call.
#[derive(Clone, PartialEq)]
pub(in crate::api) struct ToolResultBody {
    pub(in crate::api) tool_call_id: String,
    /// The result as JSON text, or what went wrong.
    pub(in crate::api) outcome: Result<String, String>,
    /// Whether the agent should go on at once.
    pub(in crate::api) respond: bool,
    /// New state that goes with the result.
    pub(in crate::api) context_json: Option<String>,
}

/// Where to go.
#[derive(Clone, PartialEq)]
pub(in crate::api) struct JoinBody {
    pub(in crate::api) room_url: String,
    pub(in crate::api) token: Option<String>,
    pub(in crate::api) participant_name: Option<String>,
}

/// Which generation of the protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Generation {
    /// Envelopes with `content`; errors come on `event`.
    Old,
    /// Flat events, "0.2.0"; errors come on `error`.
    New,
}

impl ClientMessage {
    /// Reads what was sent as the Socket.IO event `event`; an error says what is wrong with it.
    ///
    /// On `message` the payload names its type; an event of any other name is its own type.
    pub(in crate::api) fn parse(event: &str, payload: &Value) -> Result<Self, String> {
        if let Some(reason) = unfit(payload) {
            return Err(format!("the message {reason}"));
        }
        let empty = Map::new();
        let fields = match payload {
            Value::Object(fields) => fields,
            Value::Null if event != MESSAGE => &empty,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => return Err("a message must be a JSON object".to_owned()),
        };
        let kind = if event == MESSAGE { required_text(fields, "type", 128)? } else { event };
        let content = fields.get("content").and_then(Value::as_object);
        let body = content.unwrap_or(fields);
        match kind {
            "huma-0.1-event" => parse_old(content),
            "new-message" => parse_chat(content),
            "context-update" => parse_context(body, TriggeringDefault::Required),
            "tool-result" => parse_tool_result(body),
            "join-daily-room" | "join-room" => parse_join(body),
            "leave-daily-room" | "leave-room" => Ok(Self::Leave),
            "interrupt" => Ok(Self::Interrupt),
            "say" => Ok(Self::Say(required_text(body, "text", SAY_MAX)?.to_owned())),
            "set-muted" => match body.get("muted").and_then(Value::as_bool) {
                Some(muted) => Ok(Self::SetMuted(muted)),
                None => Err("muted must be true or false".to_owned()),
            },
            _ => Err(format!("there is no message type {:?}", shortened(kind))),
        }
    }
}

impl Generation {
    /// Which generation a message belongs to, if it tells. Extensions belong to neither.
    pub(in crate::api) fn of(event: &str, payload: &Value) -> Option<Self> {
        let kind = if event == MESSAGE { payload.get("type")?.as_str()? } else { event };
        match kind {
            "huma-0.1-event" | "new-message" => Some(Self::Old),
            "context-update" | "tool-result" => Some(Self::New),
            _ => None,
        }
    }
}

fn parse_old(content: Option<&Map<String, Value>>) -> Result<ClientMessage, String> {
    let content = content.ok_or("content must be an object")?;
    if content.get("type").and_then(Value::as_str) == Some("tool-result") {
        return parse_tool_result(content);
    }
    parse_context(content, TriggeringDefault::Yes)
}

/// A chat message is an event like any other, with itself as its context.
fn parse_chat(content: Option<&Map<String, Value>>) -> Result<ClientMessage, String> {
    let content = content.ok_or("content must be an object")?;
    let text = required_text(content, "content", DESCRIPTION_MAX)?;
    let nickname = content
        .get("participant")
        .and_then(|participant| participant.get("nickname"))
        .and_then(Value::as_str)
        .unwrap_or("Someone");
    Ok(ClientMessage::Context(ContextBody {
        name: "new-message".to_owned(),
        description: format!("{} wrote: {text}", shortened(nickname)),
        context_json: bounded_json(&json!({ "message": content }), "content")?,
        triggering: triggering(content)?.unwrap_or(true),
    }))
}

/// Whether an event may be answered if it does not say so itself.
#[derive(Clone, Copy, PartialEq)]
enum TriggeringDefault {
    Yes,
    Required,
}

fn parse_context(
    fields: &Map<String, Value>,
    default: TriggeringDefault,
) -> Result<ClientMessage, String> {
    let name = required_text(fields, "name", NAME_MAX)?.to_owned();
    if name.is_empty() {
        return Err("name must not be empty".to_owned());
    }
    let strict = default == TriggeringDefault::Required;
    let description = match text(fields, "description", DESCRIPTION_MAX)? {
        None if strict => return Err("description is required".to_owned()),
        description => description.unwrap_or_default().to_owned(),
    };
    let context_json = match context(fields)? {
        None if strict => return Err("context is required".to_owned()),
        context => context.unwrap_or_else(|| "{}".to_owned()),
    };
    let triggering = match triggering(fields)? {
        None if strict => return Err("triggering is required".to_owned()),
        triggering => triggering.unwrap_or(true),
    };
    Ok(ClientMessage::Context(ContextBody { name, description, context_json, triggering }))
}

fn parse_tool_result(fields: &Map<String, Value>) -> Result<ClientMessage, String> {
    let tool_call_id = required_text(fields, "toolCallId", NAME_MAX)?.to_owned();
    let canceled = matches!(text(fields, "status", NAME_MAX)?, Some("canceled" | "cancelled"));
    let error = text(fields, "error", DESCRIPTION_MAX)?;
    let success = boolean(fields, "success")?.unwrap_or(error.is_none());
    let outcome = if canceled {
        Err(error.unwrap_or("canceled").to_owned())
    } else if success {
        Ok(bounded_json(fields.get("result").unwrap_or(&Value::Null), "result")?)
    } else {
        Err(error.unwrap_or("the tool failed").to_owned())
    };
    // An answer that only says "canceled" must not start a new round: the agent would call the
    // tool again, and the client would cancel it again, for ever.
    let respond = !canceled && !boolean(fields, "skipImmediateProcessing")?.unwrap_or(false);
    let context_json = context(fields)?;
    Ok(ClientMessage::ToolResult(ToolResultBody { tool_call_id, outcome, respond, context_json }))
}

fn parse_join(fields: &Map<String, Value>) -> Result<ClientMessage, String> {
    let room_url = match text(fields, "roomUrl", URL_MAX)? {
        Some(url) => url,
        None => text(fields, "url", URL_MAX)?.ok_or("roomUrl is required")?,
    };
    if room_url.is_empty() {
        return Err("roomUrl must not be empty".to_owned());
    }
    Ok(ClientMessage::Join(JoinBody {
        room_url: room_url.to_owned(),
        token: text(fields, "token", TOKEN_MAX)?.map(str::to_owned),
        participant_name: text(fields, "participantName", NAME_MAX)?.map(str::to_owned),
    }))
}

fn text<'a>(
    fields: &'a Map<String, Value>,
    field: &str,
    most: usize,
) -> Result<Option<&'a str>, String> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.chars().count() <= most => Ok(Some(text)),
        Some(Value::String(_)) => Err(format!("{field} must have at most {most} characters")),
        Some(_) => Err(format!("{field} must be a string")),
    }
}

fn required_text<'a>(
    fields: &'a Map<String, Value>,
    field: &str,
    most: usize,
) -> Result<&'a str, String> {
    text(fields, field, most)?.ok_or_else(|| format!("{field} is required"))
}

fn boolean(fields: &Map<String, Value>, field: &str) -> Result<Option<bool>, String> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(boolean)) => Ok(Some(*boolean)),
        Some(_) => Err(format!("{field} must be true or false")),
    }
}

fn triggering(fields: &Map<String, Value>) -> Result<Option<bool>, String> {
    boolean(fields, "triggering")
}

fn context(fields: &Map<String, Value>) -> Result<Option<String>, String> {
    match fields.get("context") {
        None | Some(Value::Null) => Ok(None),
        Some(context @ Value::Object(_)) => bounded_json(context, "context").map(Some),
        Some(_) => Err("context must be an object".to_owned()),
    }
}

fn bounded_json(value: &Value, what: &str) -> Result<String, String> {
    let text = value.to_string();
    if text.len() > JSON_BYTES_MAX {
        return Err(format!("{what} must not be larger than {JSON_BYTES_MAX} bytes"));
    }
    Ok(text)
}

/// What a client chose freely, cut to a length that fits a sentence.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// What people say stays out of `Debug`, and with it out of every log.
macro_rules! quiet_debug {
    ($($name:ident)+) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}

quiet_debug!(ContextBody ToolResultBody JoinBody);

/// The Socket.IO event that carries a message of any type.
pub(in crate::api) const MESSAGE: &str = "message";

const NAME_MAX: usize = 128;
const URL_MAX: usize = 2_048;
const TOKEN_MAX: usize = 8_192;
const SAY_MAX: usize = 16_384;
const DESCRIPTION_MAX: usize = 65_536;
const JSON_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_event_is_a_triggering_context() {
        let read = parse(&json!({
            "type": "huma-0.1-event",
            "content": {"name": "card-played", "context": {"a": 1}, "description": "Ann: a 7"},
        }));
        let expected = ContextBody {
            name: "card-played".into(),
            description: "Ann: a 7".into(),
            context_json: r#"{"a":1}"#.into(),
            triggering: true,
        };
        assert_eq!(read, Ok(ClientMessage::Context(expected)));
        let silent =
            json!({"type": "huma-0.1-event", "content": {"name": "a", "triggering": false}});
        let Ok(ClientMessage::Context(context)) = parse(&silent) else { panic!("a context") };
        assert_eq!((context.triggering, context.context_json.as_str()), (false, "{}"));
    }

    #[test]
    fn a_flat_context_update_must_be_complete() {
        let full = json!({
            "type": "context-update", "triggering": false, "name": "n", "context": {},
            "description": "d",
        });
        assert!(matches!(parse(&full), Ok(ClientMessage::Context(_))));
        for field in ["triggering", "name", "context", "description"] {
            let mut partial = full.clone();
            partial.as_object_mut().expect("an object").remove(field);
            assert_eq!(parse(&partial), Err(format!("{field} is required")));
        }
        let nested = json!({"type": "context-update", "content": full});
        assert!(matches!(parse(&nested), Ok(ClientMessage::Context(_))));
    }

    #[test]
    fn a_chat_message_says_who_wrote_what() {
        let read = parse(&json!({
            "type": "new-message",
            "content": {"id": "m1", "content": "hi", "participant": {"nickname": "Ann"}},
        }));
        let Ok(ClientMessage::Context(context)) = read else { panic!("a context: {read:?}") };
        assert_eq!((context.name.as_str(), context.triggering), ("new-message", true));
        assert_eq!(context.description, "Ann wrote: hi");
        assert!(context.context_json.starts_with(r#"{"message":{"#));
    }

    #[test]
    fn a_tool_result_comes_in_three_envelopes() {
        let fields = json!({"toolCallId": "tc_1", "success": true, "result": {"n": 1}});
        let mut flat = fields.clone();
        flat["type"] = json!("tool-result");
        let outer = json!({"type": "tool-result", "content": fields});
        let old = json!({"type": "huma-0.1-event", "content": flat});
        for message in [&flat, &outer, &old] {
            let Ok(ClientMessage::ToolResult(result)) = parse(message) else { panic!("a result") };
            assert_eq!(result.tool_call_id, "tc_1");
            assert_eq!(result.outcome, Ok(r#"{"n":1}"#.to_owned()));
            assert!(result.respond && result.context_json.is_none());
        }
    }

    #[test]
    fn a_tool_result_can_fail_be_canceled_or_keep_quiet() {
        let result = |extra: Value| {
            let mut message = json!({"type": "tool-result", "toolCallId": "tc_1"});
            let fields = message.as_object_mut().expect("an object");
            fields.extend(extra.as_object().expect("an object").clone());
            match parse(&message) {
                Ok(ClientMessage::ToolResult(result)) => (result.outcome, result.respond),
                other => panic!("a result was expected: {other:?}"),
            }
        };
        assert_eq!(result(json!({})), (Ok("null".into()), true));
        assert_eq!(result(json!({"error": "no"})), (Err("no".into()), true));
        assert_eq!(result(json!({"success": false})), (Err("the tool failed".into()), true));
        assert_eq!(result(json!({"status": "canceled"})), (Err("canceled".into()), false));
        let quiet = json!({"result": 1, "skipImmediateProcessing": true});
        assert_eq!(result(quiet), (Ok("1".into()), false));
    }

    #[test]
    fn joining_is_a_message_type_and_an_event_of_its_own() {
        let expected = ClientMessage::Join(JoinBody {
            room_url: "rooms/a".into(),
            token: Some("t".into()),
            participant_name: None,
        });
        let fields = json!({"roomUrl": "rooms/a", "token": "t"});
        for kind in ["join-daily-room", "join-room"] {
            let mut flat = fields.clone();
            flat["type"] = json!(kind);
            let nested = json!({"type": kind, "content": {"url": "rooms/a", "token": "t"}});
            assert_eq!(parse(&flat).as_ref(), Ok(&expected));
            assert_eq!(parse(&nested).as_ref(), Ok(&expected));
            assert_eq!(ClientMessage::parse(kind, &fields).as_ref(), Ok(&expected));
        }
        assert_eq!(parse(&json!({"type": "join-room"})), Err("roomUrl is required".into()));
    }

    #[test]
    fn events_without_a_payload_are_complete_if_they_need_none() {
        for event in ["leave-room", "leave-daily-room"] {
            assert_eq!(ClientMessage::parse(event, &Value::Null), Ok(ClientMessage::Leave));
        }
        assert_eq!(ClientMessage::parse("interrupt", &Value::Null), Ok(ClientMessage::Interrupt));
        assert!(ClientMessage::parse("say", &Value::Null).is_err());
        assert!(ClientMessage::parse(MESSAGE, &Value::Null).is_err());
        let muted = ClientMessage::parse("set-muted", &json!({"muted": true}));
        assert_eq!(muted, Ok(ClientMessage::SetMuted(true)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (payload, reason) in [
            (json!("hello"), "must be a JSON object"),
            (json!([1]), "must be a JSON object"),
            (json!({}), "type is required"),
            (json!({"type": 5}), "type must be a string"),
            (json!({"type": "dance"}), "no message type \"dance\""),
            (json!({"type": "huma-0.1-event"}), "content must be an object"),
            (json!({"type": "set-muted", "muted": 1}), "muted must be true or false"),
            (json!({"type": "say", "text": "x".repeat(SAY_MAX + 1)}), "at most"),
            (json!({"type": "leave-room", "x": {"constructor": 1}}), "key constructor"),
        ] {
            let error = parse(&payload).expect_err("this makes no sense");
            assert!(error.contains(reason), "{payload}: {error}");
        }
        let large = json!({"type": "huma-0.1-event", "content": {
            "name": "a", "context": {"x": "y".repeat(JSON_BYTES_MAX)},
        }});
        assert!(parse(&large).expect_err("too large").contains("larger than"));
    }

    #[test]
    fn the_first_envelope_tells_the_generation() {
        let of = |kind: &str| Generation::of(MESSAGE, &json!({ "type": kind }));
        assert_eq!(of("huma-0.1-event"), Some(Generation::Old));
        assert_eq!(of("new-message"), Some(Generation::Old));
        assert_eq!(of("context-update"), Some(Generation::New));
        assert_eq!(of("tool-result"), Some(Generation::New));
        assert_eq!(of("join-room"), None);
        assert_eq!(Generation::of("join-room", &Value::Null), None);
    }

    #[test]
    fn what_people_say_is_not_in_debug() {
        let read = parse(
            &json!({"type": "huma-0.1-event", "content": {"name": "a", "description": "psst"}}),
        );
        assert!(!format!("{read:?}").contains("psst"));
    }

    fn parse(payload: &Value) -> Result<ClientMessage, String> {
        ClientMessage::parse(MESSAGE, payload)
    }
}
