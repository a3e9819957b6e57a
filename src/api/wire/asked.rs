//! What request bodies look like, for the description. The parsers beside this file read them by
//! hand, in order to tell every mistake at once; a test holds the two together.

#![expect(dead_code, reason = "these types are read as schemas only")]

use std::borrow::Cow;

use utoipa::openapi::schema::{
    AllOfBuilder, AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::agent::{CONSENT_MAX, SUPPRESSIONS};
use super::words::{AgentTypeWord, WebhookEventWord};

/// What a new agent is made from.
#[derive(ToSchema)]
#[schema(as = NewAgent, rename_all = "camelCase")]
pub(in crate::api) struct NewAgentSchema {
    /// What others see in a call.
    #[schema(min_length = 1, max_length = 128, example = "Ada")]
    name: String,
    #[schema(inline)]
    agent_type: AgentTypeWord,
    metadata: MetadataSchema,
    /// The agent ends so many seconds after it was made, with or without clients.
    #[schema(minimum = 1, maximum = 31_622_400, example = 3600)]
    ttl_seconds: Option<u64>,
    /// The end user's id, of your choosing. There is at most one live agent for each.
    #[schema(min_length = 1, max_length = 128, example = "user-7")]
    user_id: Option<String>,
    #[schema(inline)]
    on_duplicate: Option<OnDuplicateWord>,
}

/// What to answer if `userId` has a live agent: 409, or 200 and that agent.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum OnDuplicateWord {
    Refuse,
    Return,
}

/// What of an agent is changed; what is left out stays as it is.
#[derive(ToSchema)]
#[schema(as = AgentChange, rename_all = "camelCase")]
pub(in crate::api) struct AgentChangeSchema {
    #[schema(min_length = 1, max_length = 128, nullable = false, example = "Ada")]
    name: Option<String>,
    #[schema(inline, nullable = false)]
    agent_type: Option<AgentTypeWord>,
    #[schema(nullable = false)]
    metadata: Option<MetadataSchema>,
    /// Counts anew from this moment; null lets the agent live until it is ended.
    #[schema(minimum = 1, maximum = 31_622_400)]
    ttl_seconds: Option<u64>,
    /// Null takes the user away.
    #[schema(min_length = 1, max_length = 128)]
    user_id: Option<String>,
}

/// Who goes on in an agent's place.
#[derive(ToSchema)]
#[schema(as = HandOff)]
pub(in crate::api) struct HandOffSchema {
    to: SuccessorSchema,
    context: Option<HandOffContextSchema>,
    /// Why, for clients and the archive; `handoff` unless given.
    #[schema(min_length = 1, max_length = 200, example = "a question of billing")]
    reason: Option<String>,
}

/// An agent's id, or what a new one is made from.
pub(in crate::api) struct SuccessorSchema;

impl PartialSchema for SuccessorSchema {
    fn schema() -> RefOr<Schema> {
        let id = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
        let nobody =
            ObjectBuilder::new().property("userId", ObjectBuilder::new().schema_type(Type::Null));
        let new = AllOfBuilder::new()
            .item(Ref::from_schema_name(NewAgentSchema::name()))
            .item(nobody)
            .description(Some("What a new one is made from."));
        let either = AnyOfBuilder::new().item(id.description(Some("An agent's id."))).item(new);
        RefOr::T(
            either
                .description(Some(
                    "Who goes on. A new agent gets the user of the first, \
            and has no `userId` of its own.",
                ))
                .into(),
        )
    }
}

impl ToSchema for SuccessorSchema {
    fn name() -> Cow<'static, str> {
        "Successor".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((NewAgentSchema::name().into_owned(), NewAgentSchema::schema()));
        NewAgentSchema::schemas(schemas);
    }
}

/// What the successor should know besides.
pub(in crate::api) struct HandOffContextSchema;

impl PartialSchema for HandOffContextSchema {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let either = AnyOfBuilder::new().item(text).item(ObjectBuilder::new());
        let about = "What the successor should know besides, as text or JSON; at most 256 KiB.";
        RefOr::T(either.description(Some(about)).into())
    }
}

impl ToSchema for HandOffContextSchema {
    fn name() -> Cow<'static, str> {
        "HandOffContext".into()
    }
}

/// Who the agent is, and what it can do. It comes back as it was given, unknown fields included.
/// At most 256 KiB as JSON and 32 levels deep; no key anywhere in it may be `__proto__`,
/// `constructor` or `prototype`.
#[derive(ToSchema)]
#[schema(as = AgentMetadata, rename_all = "camelCase")]
pub(in crate::api) struct MetadataSchema {
    /// The first part of the model's instructions: its role.
    #[schema(max_length = 131_072, example = "Host")]
    class_name: Option<String>,
    /// The second part.
    #[schema(max_length = 131_072, example = "Calm and brief.")]
    personality: Option<String>,
    /// The third part.
    #[schema(max_length = 131_072, example = "Greet people and answer their questions.")]
    instructions: Option<String>,
    /// What the model may ask clients to run. No two have the same name.
    #[schema(max_items = 128)]
    tools: Option<Vec<ToolSchema>>,
    #[schema(inline)]
    router_type: Option<RouterTypeWord>,
    #[schema(inline)]
    voice: Option<VoiceSchema>,
    #[schema(inline)]
    model: Option<ModelSchema>,
}

/// Taken for the sake of older clients, and without effect.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
enum RouterTypeWord {
    Random,
    LlmJudge,
    Conversational,
    TurnTaking,
    VoiceGame,
}

/// Whether and how the agent speaks.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct VoiceSchema {
    /// Whether the agent may join calls; false unless given.
    #[schema(example = true)]
    enabled: Option<bool>,
    /// The voice, by the model's name for it; `model.voice` goes before it.
    #[schema(min_length = 1, max_length = 128)]
    voice_id: Option<String>,
    #[schema(inline)]
    recording: Option<RecordingSchema>,
}

/// Whether the agent's calls are recorded, and as what: stereo at 24 kHz, left the participants,
/// right the agent as far as it is heard. A call that is handed over has one recording, of the time
/// with agents that ask for it. Refused where the gateway has no `recordings.directory`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct RecordingSchema {
    /// Whether they are; false unless given. Refused without `consent`.
    enabled: Option<bool>,
    #[schema(inline)]
    format: Option<RecordingFormatWord>,
    #[schema(inline)]
    consent: Option<ConsentSchema>,
}

/// Opus in Ogg, which is usual, or WAV.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
enum RecordingFormatWord {
    Ogg,
    Wav,
}

/// That those who are recorded have agreed.
struct ConsentSchema;

impl PartialSchema for ConsentSchema {
    fn schema() -> RefOr<Schema> {
        let told = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(CONSENT_MAX));
        let stated = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true]));
        let null = ObjectBuilder::new().schema_type(Type::Null);
        let either = AnyOfBuilder::new().item(told).item(stated).item(null);
        let about = "That those who are recorded have agreed: true, or how. Without it nothing is \
            recorded.";
        RefOr::T(either.description(Some(about)).into())
    }
}

impl ToSchema for ConsentSchema {
    fn name() -> Cow<'static, str> {
        "Consent".into()
    }
}

/// How the agent thinks.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ModelSchema {
    /// A model's name in the gateway's settings.
    #[schema(min_length = 1, max_length = 128)]
    profile: Option<String>,
    /// The voice, by the model's name for it.
    #[schema(min_length = 1, max_length = 128)]
    voice: Option<String>,
    /// What the agent says first in a call.
    #[schema(min_length = 1, max_length = 2000, example = "Hello!")]
    greeting: Option<String>,
    turn_detection: Option<TurnDetectionSchema>,
    #[schema(inline)]
    barge_in: Option<BargeInSchema>,
    /// Whether silence that the model puts before an answer is left out; true unless given.
    trim_silence: Option<bool>,
    #[schema(inline)]
    hearing: Option<HearingSchema>,
}

/// How the sound of each participant is made ready, and told from noise.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct HearingSchema {
    /// What tells speech from other sound; `webrtc` unless given. `silero` is refused where the
    /// gateway does not have its model.
    #[schema(inline)]
    detector: Option<DetectorWord>,
    #[schema(inline)]
    noise_suppression: Option<NoiseSuppressionSchema>,
    /// Whether quiet voices are made louder; false unless given.
    gain_control: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
enum DetectorWord {
    Webrtc,
    Earshot,
    Silero,
}

/// How much of a steady noise is taken away, if any.
struct NoiseSuppressionSchema;

impl PartialSchema for NoiseSuppressionSchema {
    fn schema() -> RefOr<Schema> {
        let words = SUPPRESSIONS.map(|(word, _)| word);
        let level = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
        let off = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([false]));
        let null = ObjectBuilder::new().schema_type(Type::Null);
        let either = AnyOfBuilder::new().item(level).item(off).item(null);
        let about = "How much of a steady noise is taken away: 6, 12 or 18 dB; false unless given.";
        RefOr::T(either.description(Some(about)).into())
    }
}

impl ToSchema for NoiseSuppressionSchema {
    fn name() -> Cow<'static, str> {
        "NoiseSuppression".into()
    }
}

/// How the agent may be spoken over.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct BargeInSchema {
    /// Whether it may be at all; true unless given. If not, nobody is heard while it speaks.
    enabled: Option<bool>,
    /// So much voice, in milliseconds, breaks an answer off; until then it is only held, and goes
    /// on after a noise. 160 unless given.
    #[schema(minimum = 0, maximum = 2000, example = 160)]
    min_speech_ms: Option<u64>,
    /// Whether the agent's own voice, when it comes back, is told from speech; true unless given.
    echo_guard: Option<bool>,
}

/// Who says when a participant's turn is over.
pub(in crate::api) struct TurnDetectionSchema;

impl PartialSchema for TurnDetectionSchema {
    fn schema() -> RefOr<Schema> {
        let kind = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .pattern(Some("^(?!gateway$)"));
        let model = ObjectBuilder::new().property("type", kind).description(Some(
            "The model, by its own ear: `server_vad`, `semantic_vad`, as its protocol has it.",
        ));
        let silence = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::Integer, Type::Null]))
            .minimum(Some(100))
            .maximum(Some(10_000))
            .description(Some("After so many milliseconds without speech; 500 unless given."));
        let ours = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["gateway"]));
        let gateway = ObjectBuilder::new()
            .property("type", ours)
            .required("type")
            .property("silenceMs", silence)
            .description(Some("The gateway, by its own ear."));
        let null = ObjectBuilder::new()
            .schema_type(Type::Null)
            .description(Some("The gateway, with its defaults."));
        let either = AnyOfBuilder::new().item(model).item(gateway).item(null);
        let about = "Who says when a participant's turn is over; left to the profile unless given.";
        RefOr::T(either.description(Some(about)).into())
    }
}

impl ToSchema for TurnDetectionSchema {
    fn name() -> Cow<'static, str> {
        "TurnDetection".into()
    }
}

/// A tool that clients run.
#[derive(ToSchema)]
#[schema(as = Tool, rename_all = "camelCase")]
pub(in crate::api) struct ToolSchema {
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]+$", example = "weather")]
    name: String,
    /// What it does, for the model.
    #[schema(max_length = 131_072, example = "The weather in a place")]
    description: Option<String>,
    parameters: Option<ParametersSchema>,
    /// How long a client has to answer; 30 unless given.
    #[schema(minimum = 1, maximum = 3600, example = 30)]
    timeout_seconds: Option<u64>,
    /// What the agent says in a call while it waits for the result, if that takes longer than a
    /// moment.
    #[schema(min_length = 1, max_length = 200, example = "One moment.")]
    filler: Option<String>,
}

/// A parameter of a tool. Further fields (`items`, `properties`, `enum` …) are JSON Schema.
#[derive(ToSchema)]
#[schema(as = ToolParameter)]
pub(in crate::api) struct ParameterSchema {
    /// No two of a tool have the same name.
    #[schema(min_length = 1, max_length = 128, example = "place")]
    name: String,
    #[schema(inline, rename = "type")]
    kind: ParameterTypeWord,
    #[schema(max_length = 131_072, example = "A town")]
    description: Option<String>,
    /// Whether the model must give it; false unless given.
    required: Option<bool>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum ParameterTypeWord {
    String,
    Number,
    Integer,
    Boolean,
    Object,
    Array,
}

/// What the model gives a tool: one by one, or as a JSON Schema.
pub(in crate::api) struct ParametersSchema;

impl PartialSchema for ParametersSchema {
    fn schema() -> RefOr<Schema> {
        let list = ArrayBuilder::new()
            .items(Ref::from_schema_name(ParameterSchema::name()))
            .max_items(Some(128))
            .description(Some("One by one."));
        let kind = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["object"]));
        let schema = ObjectBuilder::new()
            .property("type", kind)
            .description(Some("As a JSON Schema; its `type`, if it has one, is `object`."));
        let either = AnyOfBuilder::new().item(list).item(schema);
        RefOr::T(either.description(Some("What the model gives a tool.")).into())
    }
}

impl ToSchema for ParametersSchema {
    fn name() -> Cow<'static, str> {
        "ToolParameters".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((ParameterSchema::name().into_owned(), ParameterSchema::schema()));
        ParameterSchema::schemas(schemas);
    }
}

/// A new user.
#[derive(ToSchema)]
#[schema(as = NewUser)]
pub(in crate::api) struct NewUserSchema {
    /// No two users have the same, in any case of its letters.
    #[schema(
        min_length = 3,
        max_length = 254,
        pattern = r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^\s\x00-\x1f\x7f-\x9f]+$",
        example = "ann@example.com"
    )]
    email: String,
    #[schema(min_length = 1, max_length = 128, example = "Ann")]
    name: Option<String>,
}

/// A new key; an empty body makes one without a name and without an end.
#[derive(ToSchema)]
#[schema(as = NewKey, rename_all = "camelCase")]
pub(in crate::api) struct NewKeySchema {
    /// What it is for.
    #[schema(min_length = 1, max_length = 128, example = "laptop")]
    name: Option<String>,
    /// When it ends, in the future; never unless given.
    #[schema(format = DateTime, example = "2100-01-31T12:00:00Z")]
    expires_at: Option<String>,
}

/// A new room; an empty body makes one with a name of its own and a token.
#[derive(ToSchema)]
#[schema(as = NewRoom, rename_all = "camelCase")]
pub(in crate::api) struct NewRoomSchema {
    /// One is made up unless given.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$",
        example = "lobby"
    )]
    name: Option<String>,
    /// The room ends so many seconds after it was made; never unless given.
    #[schema(minimum = 1, maximum = 31_622_400, example = 3600)]
    ttl_seconds: Option<u64>,
    /// Whether it may be entered without its token; false unless given.
    open: Option<bool>,
}

/// A new webhook.
#[derive(ToSchema)]
#[schema(as = NewWebhook)]
pub(in crate::api) struct NewWebhookSchema {
    /// Where to deliver. Unless the operator allows it, it must not lead to a private address.
    #[schema(max_length = 2048, pattern = r"^https?://\S+$", example = "https://example.com/hook")]
    url: String,
    /// What to tell; everything unless given.
    #[schema(min_items = 1, max_items = 4)]
    events: Option<Vec<WebhookEventWord>>,
    #[schema(max_length = 200)]
    description: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::wire::fields::tests::asked_for;
    use crate::api::wire::{
        AgentChangeBody, BadBody, HandOffBody, NewAgentBody, NewKeyBody, NewRoomBody, NewUserBody,
        NewWebhookBody,
    };

    #[test]
    fn a_new_agent_is_described_as_it_is_read() {
        let body = json!({
            "name": "Ada", "agentType": "HUMA-0.1", "ttlSeconds": 60, "userId": "u",
            "onDuplicate": "refuse", "metadata": metadata(),
        });
        agree::<NewAgentSchema>(body, |bytes| NewAgentBody::parse(bytes).map(|_| ()));
    }

    #[test]
    fn users_and_keys_are_described_as_they_are_read() {
        let user = json!({"email": "ann@example.com", "name": "Ann"});
        agree::<NewUserSchema>(user, |bytes| NewUserBody::parse(bytes).map(|_| ()));
        let key = json!({"name": "laptop", "expiresAt": "2100-01-31T12:00:00Z"});
        agree::<NewKeySchema>(key, |bytes| NewKeyBody::parse(bytes).map(|_| ()));
    }

    #[test]
    fn a_new_webhook_is_described_as_it_is_read() {
        let webhook = json!({"url": "http://x", "events": ["call.ended"], "description": "d"});
        agree::<NewWebhookSchema>(webhook, |bytes| NewWebhookBody::parse(bytes).map(|_| ()));
    }

    #[test]
    fn a_new_room_is_described_as_it_is_read() {
        let room = json!({"name": "lobby", "ttlSeconds": 60, "open": true});
        agree::<NewRoomSchema>(room, |bytes| NewRoomBody::parse(bytes).map(|_| ()));
    }

    #[test]
    fn changes_and_handoffs_are_described_as_they_are_read() {
        let change = json!({
            "name": "Ada", "agentType": "HUMA-0.1", "ttlSeconds": 60, "userId": "u",
            "metadata": metadata(),
        });
        agree::<AgentChangeSchema>(change, |bytes| AgentChangeBody::parse(bytes).map(|_| ()));
        let hand_off = json!({"to": "ag_1", "context": "known", "reason": "night"});
        agree::<HandOffSchema>(hand_off, |bytes| HandOffBody::parse(bytes).map(|_| ()));
    }

    fn metadata() -> Value {
        json!({
            "className": "c", "personality": "p", "instructions": "i", "routerType": "random",
            "voice": {
                "enabled": true, "voiceId": "v",
                "recording": {"enabled": false, "format": "wav", "consent": "announced"},
            },
            "model": {
                "profile": "p", "voice": "v", "greeting": "g",
                "turnDetection": {"type": "semantic_vad"}, "trimSilence": true,
                "bargeIn": {"enabled": true, "minSpeechMs": 160, "echoGuard": true},
                "hearing": {
                    "detector": "webrtc", "noiseSuppression": "low", "gainControl": true,
                },
            },
            "tools": [{
                "name": "t", "description": "d", "timeoutSeconds": 5, "filler": "f",
                "parameters": [
                    {"name": "p", "type": "string", "description": "d", "required": true},
                ],
            }],
        })
    }

    /// Holds a schema against its parser, beginning with a body that has every field: both know
    /// the same fields, and draw every bound at the same place.
    fn agree<T: ToSchema>(body: Value, parse: fn(&[u8]) -> Result<(), BadBody>) {
        let mut named = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut named);
        let schemas = named.into_iter().map(|(name, schema)| {
            (name, serde_json::to_value(schema).expect("a schema has a JSON form"))
        });
        let mut walk = Walk { schemas: schemas.collect(), parse, body, known: BTreeSet::new() };
        walk.check("", "", &json!({"$ref": format!("#/components/schemas/{}", T::name())}));
        asked_for();
        parse(walk.body.to_string().as_bytes()).expect("the whole body is in order");
        let first = |path: String| path.replace("[0]", "");
        let read: BTreeSet<_> = asked_for().into_iter().map(first).collect();
        assert_eq!(walk.known, read, "fields of the schema, and fields that are read");
    }

    struct Walk {
        schemas: std::collections::BTreeMap<String, Value>,
        parse: fn(&[u8]) -> Result<(), BadBody>,
        body: Value,
        known: BTreeSet<String>,
    }

    impl Walk {
        /// Checks what stands at `pointer` in the body against its schema; `path` is its name.
        fn check(&mut self, pointer: &str, path: &str, schema: &Value) {
            let (schema, is_nullable) = self.resolved(schema);
            if !pointer.is_empty() {
                self.set(pointer, &Value::Null, is_nullable);
                self.set(pointer, &json!([[]]), false);
            }
            self.check_value(pointer, &schema);
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let required = schema["required"].as_array().into_iter().flatten();
                let is_required = required.into_iter().any(|one| one == name);
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                self.known.insert(path.clone());
                self.remove(pointer, name, !is_required);
                self.check(&format!("{pointer}/{name}"), &path, property);
            }
        }

        fn check_value(&mut self, pointer: &str, schema: &Value) {
            if let Some(words) = schema["enum"].as_array() {
                for word in words {
                    self.set(pointer, word, true);
                }
                self.set(pointer, &json!("no such word"), false);
            }
            for (bound, by) in [("minLength", -1), ("maxLength", 1)] {
                let Some(length) = schema[bound].as_i64() else { continue };
                let pattern = schema["pattern"].to_string();
                let start = match () {
                    () if pattern.contains('@') => "a@b",
                    () if pattern.contains("http") => "http://x",
                    () => "x",
                };
                let text = |length: i64| {
                    let length = usize::try_from(length).expect("a length");
                    let text = format!("{start}{}", "x".repeat(length));
                    json!(text[..length])
                };
                self.set(pointer, &text(length), true);
                self.set(pointer, &text(length + by), false);
            }
            for (bound, by) in [("minimum", -1), ("maximum", 1)] {
                let Some(number) = schema[bound].as_i64() else { continue };
                self.set(pointer, &json!(number), true);
                self.set(pointer, &json!(number + by), false);
                self.set(pointer, &json!(0.5), false);
            }
            if schema["type"] == "boolean" {
                self.set(pointer, &json!(false), true);
                self.set(pointer, &json!("true"), false);
            }
            if schema["type"] == "array" {
                self.check_list(pointer, schema);
            }
        }

        fn check_list(&mut self, pointer: &str, schema: &Value) {
            let entry = self.body.pointer(pointer).expect("a list")[0].clone();
            let list = |length: u64| {
                let entry = |n| {
                    let mut entry = entry.clone();
                    if entry.is_object() {
                        entry["name"] = json!(format!("n{n}"));
                    }
                    entry
                };
                Value::Array((0..length).map(entry).collect())
            };
            let most = schema["maxItems"].as_u64().expect("a bound");
            self.set(pointer, &list(most), true);
            self.set(pointer, &list(most + 1), false);
            self.set(pointer, &json!([5]), false);
            let path = path_of(pointer);
            let (entry, _) = self.resolved(&schema["items"]);
            self.check(&format!("{pointer}/0"), &path, &entry);
        }

        /// What a schema says, without its being null: the first of what it may be.
        fn resolved(&self, schema: &Value) -> (Value, bool) {
            if let Some(name) = schema["$ref"].as_str() {
                let name = name.rsplit('/').next().expect("a name");
                return self.resolved(&self.schemas[name]);
            }
            let either = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
            if let Some(either) = either {
                let is_null = |one: &&Value| one["type"] == "null";
                let other = either.iter().find(|one| !is_null(one)).expect("a schema");
                return (self.resolved(other).0, either.iter().any(|one| is_null(&one)));
            }
            let mut schema = schema.clone();
            let kinds = schema["type"].as_array().cloned().unwrap_or_default();
            if let Some(kind) = kinds.iter().find(|kind| *kind != "null") {
                schema["type"] = kind.clone();
            }
            (schema, kinds.iter().any(|kind| kind == "null"))
        }

        fn set(&mut self, pointer: &str, value: &Value, is_fine: bool) {
            let mut body = self.body.clone();
            *body.pointer_mut(pointer).expect("it is there") = value.clone();
            self.expect(&body, pointer, value, is_fine);
        }

        fn remove(&mut self, pointer: &str, name: &str, is_fine: bool) {
            let mut body = self.body.clone();
            let object = body.pointer_mut(pointer).and_then(Value::as_object_mut);
            object.expect("an object").remove(name).expect("the body has every field");
            self.expect(&body, &format!("{pointer}/{name}"), &json!("nothing"), is_fine);
        }

        fn expect(&self, body: &Value, pointer: &str, value: &Value, is_fine: bool) {
            let read = (self.parse)(body.to_string().as_bytes());
            let value = value.to_string().chars().take(60).collect::<String>();
            assert_eq!(read.is_ok(), is_fine, "{pointer} as {value}: {read:?}");
        }
    }
    /// The fields on the way to a place, without the entries of lists.
    fn path_of(pointer: &str) -> String {
        let names = pointer.split('/').filter(|name| !name.is_empty() && *name != "0");
        names.collect::<Vec<_>>().join(".")
    }
}
