//! What a client sends, in both generations of the protocol.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::fields::unfit;
use super::image::Images;

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
    /// Data of an add-on; this gateway has none, and nothing follows.
    AddonTool,
}

/// What has happened in the client's world.
#[derive(Clone, PartialEq)]
pub(in crate::api) struct ContextBody {
    pub(in crate::api) name: String,
    pub(in crate::api) description: String,
    /// The whole state, a JSON object as text.
    pub(in crate::api) context_json: String,
    /// Images that came with it, as `data:` URLs.
    pub(in crate::api) images: Vec<String>,
    pub(in crate::api) triggering: bool,
}

/// The outcome of a tool call.
#[derive(Clone, PartialEq)]
pub(in crate::api) struct ToolResultBody {
    pub(in crate::api) tool_call_id: String,
    /// The result as JSON text, or what went wrong.
    pub(in crate::api) outcome: Result<String, String>,
    /// Whether it says that the tool was canceled.
    pub(in crate::api) canceled: bool,
    /// Whether the agent should go on at once.
    pub(in crate::api) respond: bool,
    /// New state that goes with the result, and the images in it.
    pub(in crate::api) context_json: Option<String>,
    pub(in crate::api) images: Vec<String>,
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
        let name = if event == MESSAGE { required_text(fields, "type", 128)? } else { event };
        let kind = MessageType::of(name);
        let kind = kind.ok_or_else(|| format!("there is no message type {:?}", shortened(name)))?;
        let content = fields.get("content").and_then(Value::as_object);
        let body = content.unwrap_or(fields);
        match kind {
            MessageType::HumaEvent => parse_old(content),
            MessageType::NewMessage => parse_chat(content),
            MessageType::ContextUpdate => parse_context(body, TriggeringDefault::Required),
            MessageType::ToolResult => parse_tool_result(body),
            MessageType::AddonToolEvent => Ok(Self::AddonTool),
            MessageType::Join => parse_join(body),
            MessageType::Leave => Ok(Self::Leave),
            MessageType::Interrupt => Ok(Self::Interrupt),
            MessageType::Say => Ok(Self::Say(required_text(body, "text", SAY_MAX)?.to_owned())),
            MessageType::SetMuted => match boolean(body, "muted")? {
                Some(muted) => Ok(Self::SetMuted(muted)),
                None => Err("muted must be true or false".to_owned()),
            },
        }
    }
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum MessageType {
    HumaEvent,
    NewMessage,
    ContextUpdate,
    ToolResult,
    AddonToolEvent,
    Join,
    Leave,
    Interrupt,
    Say,
    SetMuted,
}

/// Every name that a message may have, and what it is for.
pub(in crate::api) const MESSAGE_TYPES: [(&str, MessageType); 12] = [
    ("huma-0.1-event", MessageType::HumaEvent),
    ("new-message", MessageType::NewMessage),
    ("context-update", MessageType::ContextUpdate),
    ("tool-result", MessageType::ToolResult),
    ("addon-tool-event", MessageType::AddonToolEvent),
    ("join-daily-room", MessageType::Join),
    ("join-room", MessageType::Join),
    ("leave-daily-room", MessageType::Leave),
    ("leave-room", MessageType::Leave),
    ("interrupt", MessageType::Interrupt),
    ("say", MessageType::Say),
    ("set-muted", MessageType::SetMuted),
];

impl MessageType {
    fn of(name: &str) -> Option<Self> {
        MESSAGE_TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

impl Generation {
    /// Which generation a message belongs to, if it tells. Extensions belong to neither.
    pub(in crate::api) fn of(event: &str, payload: &Value) -> Option<Self> {
        let name = if event == MESSAGE { payload.get("type")?.as_str()? } else { event };
        match MessageType::of(name)? {
            MessageType::HumaEvent | MessageType::NewMessage => Some(Self::Old),
            MessageType::ContextUpdate | MessageType::ToolResult | MessageType::AddonToolEvent => {
                Some(Self::New)
            }
            MessageType::Join
            | MessageType::Leave
            | MessageType::Interrupt
            | MessageType::Say
            | MessageType::SetMuted => None,
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
    let mut images = Images::default();
    let left = images.take_from(content)?;
    // A picture may stand alone; a message of nothing at all says nothing.
    let text = match text(content, "content", DESCRIPTION_MAX)? {
        None if images.urls.is_empty() => return Err("content is required".to_owned()),
        text => text.into_iter(),
    };
    let nickname = content
        .get("participant")
        .and_then(|participant| participant.get("nickname"))
        .and_then(Value::as_str)
        .unwrap_or("Someone");
    let words: Vec<&str> = text.chain(images.marks.iter().map(String::as_str)).collect();
    Ok(ClientMessage::Context(ContextBody {
        name: "new-message".to_owned(),
        description: format!("{} wrote: {}", shortened(nickname), words.join(" ")),
        context_json: bounded_json(&json!({ "message": left }), "content")?,
        images: images.urls,
        triggering: boolean(content, "triggering")?.unwrap_or(true),
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
    let mut images = Images::default();
    images.read(fields)?;
    let context_json = match context(fields, &mut images)? {
        None if strict => return Err("context is required".to_owned()),
        context => context.unwrap_or_else(|| "{}".to_owned()),
    };
    let triggering = match boolean(fields, "triggering")? {
        None if strict => return Err("triggering is required".to_owned()),
        triggering => triggering.unwrap_or(true),
    };
    let images = images.urls;
    Ok(ClientMessage::Context(ContextBody { name, description, context_json, images, triggering }))
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
    let mut images = Images::default();
    let context_json = context(fields, &mut images)?;
    Ok(ClientMessage::ToolResult(ToolResultBody {
        tool_call_id,
        outcome,
        canceled,
        respond,
        context_json,
        images: images.urls,
    }))
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

/// The state, with marks in the place of the images of a chat message within it.
fn context(fields: &Map<String, Value>, images: &mut Images) -> Result<Option<String>, String> {
    let context = match fields.get("context") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(context)) => context,
        Some(_) => return Err("context must be an object".to_owned()),
    };
    let Some(Value::Object(message)) = context.get("message") else {
        return bounded_json(context, "context").map(Some);
    };
    let others = context.iter().filter(|(name, _)| *name != "message");
    let mut left: Map<String, Value> =
        others.map(|(name, value)| (name.clone(), value.clone())).collect();
    left.insert("message".to_owned(), Value::Object(images.take_from(message)?));
    bounded_json(&left, "context").map(Some)
}

fn bounded_json<T: Serialize>(value: &T, what: &str) -> Result<String, String> {
    let text = serde_json::to_string(value).map_err(|error| format!("{what}: {error}"))?;
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
            images: Vec::new(),
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
    fn a_chat_message_is_the_same_in_both_generations() {
        let url = "data:image/gif;base64,R0lGODlh";
        let message = json!({"content": "look", "images": [{"url": url, "alt": "a cat"}]});
        let old = json!({"type": "new-message", "content": message});
        let new = json!({
            "type": "context-update", "triggering": true, "name": "new-message",
            "context": {"message": message}, "description": "Someone wrote: look [image: a cat]",
        });
        let (old, new) = (parse(&old), parse(&new));
        assert_eq!(old, new);
        let Ok(ClientMessage::Context(context)) = old else { panic!("a context") };
        assert_eq!(context.images, [url]);
        let expected = r#"{"message":{"content":"look","images":["[image: a cat]"]}}"#;
        assert_eq!(context.context_json, expected);
    }

    #[test]
    fn a_picture_may_stand_alone() {
        let image = json!({"url": "data:image/gif;base64,R0lGODlh"});
        let read = parse(&json!({"type": "new-message", "content": {"images": [image]}}));
        let Ok(ClientMessage::Context(context)) = read else { panic!("a context: {read:?}") };
        assert_eq!(context.description, "Someone wrote: [image]");
        let nothing = parse(&json!({"type": "new-message", "content": {}}));
        assert_eq!(nothing, Err("content is required".into()));
    }

    #[test]
    fn images_may_stand_beside_the_context() {
        let image = json!([{"url": "data:image/gif;base64,R0lGODlh"}]);
        let content = json!({"name": "n", "context": {"a": 1}, "images": image});
        let mut flat = content.clone();
        flat["type"] = json!("context-update");
        flat["triggering"] = json!(false);
        flat["description"] = json!("d");
        for message in [json!({"type": "huma-0.1-event", "content": content}), flat] {
            let Ok(ClientMessage::Context(context)) = parse(&message) else { panic!("a context") };
            assert_eq!((context.images.len(), context.context_json.as_str()), (1, r#"{"a":1}"#));
        }
    }

    #[test]
    fn a_context_stays_bounded_beside_its_images() {
        let gif = format!("GIF89a{}", "\0".repeat(JSON_BYTES_MAX));
        let url = base64_simd::STANDARD.encode_to_string(gif);
        let url = format!("data:image/gif;base64,{url}");
        let message = json!({"content": "x".repeat(10), "images": [{"url": url}]});
        let read = parse(&json!({"type": "new-message", "content": message}));
        let Ok(ClientMessage::Context(context)) = read else { panic!("a context: {read:?}") };
        assert!(context.context_json.len() < 100);
    }

    #[test]
    fn what_add_ons_send_is_taken_and_does_nothing() {
        let read = parse(&json!({"type": "addon-tool-event", "addon": "messaging", "data": [1]}));
        assert_eq!(read, Ok(ClientMessage::AddonTool));
    }

    #[test]
    fn an_old_event_may_spare_a_pending_message() {
        let content = json!({"name": "n", "skipCancelPendingMessage": true});
        let read = parse(&json!({"type": "huma-0.1-event", "content": content}));
        assert!(matches!(read, Ok(ClientMessage::Context(_))));
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
