//! What a client sends to make an agent (HUMA-0.1, with the extensions of the contract).

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::fields::{BadBody, Fields, read_body};
use crate::agent::{Detector, NoiseSuppression, RecordingFormat, RecordingSpec};

/// A wish for a new agent, found to be in order.
#[derive(Debug, PartialEq)]
pub(in crate::api) struct NewAgentBody {
    pub(in crate::api) name: String,
    pub(in crate::api) metadata: Metadata,
    /// `metadata` as it was given, to the byte.
    pub(in crate::api) metadata_json: String,
    pub(in crate::api) ttl_seconds: Option<u64>,
    pub(in crate::api) user_id: Option<String>,
    pub(in crate::api) on_duplicate: OnDuplicate,
}

/// What to answer if the user has an agent already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum OnDuplicate {
    /// 409 with the id of the first.
    Refuse,
    /// 200 with the first.
    Return,
}

/// The part of `metadata` that we understand.
#[derive(Debug, Default, PartialEq)]
pub(in crate::api) struct Metadata {
    pub(in crate::api) class_name: String,
    pub(in crate::api) personality: String,
    pub(in crate::api) instructions: String,
    pub(in crate::api) tools: Vec<ToolBody>,
    pub(in crate::api) voice_enabled: bool,
    pub(in crate::api) voice_id: Option<String>,
    pub(in crate::api) model: ModelBody,
    pub(in crate::api) recording: Option<RecordingSpec>,
}

/// A tool that clients run.
#[derive(Debug, PartialEq)]
pub(in crate::api) struct ToolBody {
    pub(in crate::api) name: String,
    pub(in crate::api) description: String,
    /// A JSON Schema object, as text.
    pub(in crate::api) parameters_json: String,
    pub(in crate::api) timeout_seconds: u64,
    pub(in crate::api) filler: Option<String>,
}

/// How the agent thinks and speaks (extension). What is not there is left to the defaults.
#[derive(Debug, Default, PartialEq)]
pub(in crate::api) struct ModelBody {
    pub(in crate::api) profile: Option<String>,
    pub(in crate::api) voice: Option<String>,
    pub(in crate::api) greeting: Option<String>,
    pub(in crate::api) turn_detection: TurnDetectionBody,
    pub(in crate::api) barge_in: BargeInBody,
    pub(in crate::api) trim_silence: Option<bool>,
    pub(in crate::api) hearing: HearingBody,
}

/// Who says when a participant's turn is over.
#[derive(Debug, Default, PartialEq)]
pub(in crate::api) enum TurnDetectionBody {
    /// Whoever the profile names.
    #[default]
    Profile,
    /// The model, in this way: a JSON object in its words.
    Model(String),
    /// This gateway, after so long a silence.
    Gateway { silence_ms: Option<u64> },
}

/// How the agent may be spoken over.
#[derive(Debug, Default, PartialEq)]
pub(in crate::api) struct BargeInBody {
    pub(in crate::api) enabled: Option<bool>,
    pub(in crate::api) min_speech_ms: Option<u64>,
    pub(in crate::api) echo_guard: Option<bool>,
}

/// How others' sound is made ready, and told from noise.
#[derive(Debug, Default, PartialEq)]
pub(in crate::api) struct HearingBody {
    pub(in crate::api) detector: Option<Detector>,
    pub(in crate::api) noise_suppression: Option<NoiseSuppression>,
    pub(in crate::api) gain_control: Option<bool>,
}

impl NewAgentBody {
    /// Reads the body of `POST /api/agents`; tells all its mistakes at once.
    pub(in crate::api) fn parse(bytes: &[u8]) -> Result<Self, BadBody> {
        read_body(bytes, |fields| read_agent(fields, raw_metadata(bytes)))
    }
}

/// The field `metadata` of a body that is JSON, to the byte; empty if it is not there.
pub(super) fn raw_metadata(bytes: &[u8]) -> String {
    let raw: RawMetadata<'_> = serde_json::from_slice(bytes).unwrap_or_default();
    raw.metadata.map_or_else(String::new, |raw| raw.get().to_owned())
}

#[derive(Default, Deserialize)]
struct RawMetadata<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

fn read_agent(fields: &mut Fields<'_>, metadata_json: String) -> NewAgentBody {
    let name = fields.required_text("name", 1..=NAME_MAX);
    if fields.get("agentType").is_none() {
        fields.mistake("agentType", "is required");
    }
    fields.word("agentType", &[AGENT_TYPE]);
    let ttl_seconds = fields.number("ttlSeconds", 1..=TTL_SECONDS_MAX);
    let user_id = fields.text("userId", 1..=NAME_MAX);
    let on_duplicate = match fields.word("onDuplicate", &["return", "refuse"]).as_deref() {
        Some("return") => OnDuplicate::Return,
        _ => OnDuplicate::Refuse,
    };
    let metadata = read_metadata(fields, &metadata_json);
    NewAgentBody { name, metadata, metadata_json, ttl_seconds, user_id, on_duplicate }
}

/// What we understand of `metadata`, whose text is `json`.
pub(super) fn read_metadata(body: &mut Fields<'_>, json: &str) -> Metadata {
    if json.len() > METADATA_BYTES_MAX {
        body.mistake("metadata", format!("must not be larger than {METADATA_BYTES_MAX} bytes"));
    }
    if body.get("metadata").is_none() {
        body.mistake("metadata", "is required");
    }
    let Some(mut fields) = body.object("metadata") else { return Metadata::default() };
    let text =
        |fields: &mut Fields<'_>, field| fields.text(field, 0..=PROMPT_MAX).unwrap_or_default();
    let mut metadata = Metadata {
        class_name: text(&mut fields, "className"),
        personality: text(&mut fields, "personality"),
        instructions: text(&mut fields, "instructions"),
        tools: fields.objects("tools", TOOLS_MAX, read_tool),
        ..Metadata::default()
    };
    fields.word("routerType", &ROUTER_TYPES);
    refuse_second_tools(&mut fields, &metadata.tools);
    if let Some(mut voice) = fields.object("voice") {
        metadata.voice_enabled = voice.boolean("enabled").unwrap_or(false);
        metadata.voice_id = voice.text("voiceId", 1..=NAME_MAX);
        metadata.recording =
            voice.object("recording").and_then(|mut recording| read_recording(&mut recording));
    }
    if let Some(mut model) = fields.object("model") {
        metadata.model = read_model(&mut model);
    }
    metadata
}

/// How calls are recorded, if they are to be. Who wants that states that callers agree.
fn read_recording(fields: &mut Fields<'_>) -> Option<RecordingSpec> {
    let is_wanted = fields.boolean("enabled").unwrap_or(false);
    let word = fields.word("format", &RECORDING_FORMATS.map(RecordingFormat::as_str));
    let format =
        RECORDING_FORMATS.into_iter().find(|format| word.as_deref() == Some(format.as_str()));
    let consent = match fields.get("consent") {
        None if is_wanted => {
            fields.mistake("consent", CONSENT_WANTED);
            None
        }
        Some(value) if value.is_boolean() => {
            if *value == false {
                fields.mistake("consent", CONSENT_WANTED);
            }
            None
        }
        _ => fields.text("consent", 1..=CONSENT_MAX),
    };
    is_wanted.then(|| RecordingSpec { format: format.unwrap_or_default(), consent })
}

fn refuse_second_tools(fields: &mut Fields<'_>, tools: &[ToolBody]) {
    for (index, tool) in tools.iter().enumerate() {
        if !tool.name.is_empty() && tools[..index].iter().any(|other| other.name == tool.name) {
            fields.mistake(&format!("tools[{index}].name"), "is the name of a tool before it");
        }
    }
}

fn read_model(fields: &mut Fields<'_>) -> ModelBody {
    ModelBody {
        profile: fields.text("profile", 1..=NAME_MAX),
        voice: fields.text("voice", 1..=NAME_MAX),
        greeting: fields.text("greeting", 1..=GREETING_MAX),
        turn_detection: read_turn_detection(fields),
        barge_in: fields.object("bargeIn").map_or_else(BargeInBody::default, |mut barge_in| {
            BargeInBody {
                enabled: barge_in.boolean("enabled"),
                min_speech_ms: barge_in.number("minSpeechMs", 0..=MIN_SPEECH_MS_MAX),
                echo_guard: barge_in.boolean("echoGuard"),
            }
        }),
        trim_silence: fields.boolean("trimSilence"),
        hearing: fields.object("hearing").map_or_else(HearingBody::default, |mut hearing| {
            HearingBody {
                detector: read_detector(&mut hearing),
                noise_suppression: read_noise_suppression(&mut hearing),
                gain_control: hearing.boolean("gainControl"),
            }
        }),
    }
}

fn read_detector(fields: &mut Fields<'_>) -> Option<Detector> {
    let word = fields.word("detector", &DETECTORS.map(|(word, _)| word))?;
    DETECTORS.into_iter().find_map(|(known, detector)| (known == word).then_some(detector))
}

/// A level, or false.
fn read_noise_suppression(fields: &mut Fields<'_>) -> Option<NoiseSuppression> {
    let value = fields.get("noiseSuppression")?;
    if *value == false {
        return Some(NoiseSuppression::Off);
    }
    let mut levels = SUPPRESSIONS.into_iter();
    let level = levels.find_map(|(word, level)| (*value == word).then_some(level));
    if level.is_none() {
        let words = SUPPRESSIONS.map(|(word, _)| word).join(", ");
        fields.mistake("noiseSuppression", format!("must be false, or one of: {words}"));
    }
    level
}

/// The model's way is passed on as it is; ours has a type of its own, and is what null means.
fn read_turn_detection(fields: &mut Fields<'_>) -> TurnDetectionBody {
    let Some(value) = fields.get_or_null("turnDetection") else {
        return TurnDetectionBody::Profile;
    };
    if value.is_null() {
        return TurnDetectionBody::Gateway { silence_ms: None };
    }
    let Some(mut detection) = fields.object("turnDetection") else {
        return TurnDetectionBody::Profile;
    };
    if detection.text("type", 0..=usize::MAX).as_deref() == Some(GATEWAY) {
        let silence_ms = detection.number("silenceMs", SILENCE_MS);
        return TurnDetectionBody::Gateway { silence_ms };
    }
    TurnDetectionBody::Model(value.to_string())
}

fn read_tool(fields: &mut Fields<'_>) -> ToolBody {
    let name = fields.required_text("name", 1..=TOOL_NAME_MAX);
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        fields.mistake("name", "must be of letters, digits, _ and - only");
    }
    ToolBody {
        name,
        description: fields.text("description", 0..=PROMPT_MAX).unwrap_or_default(),
        parameters_json: read_parameters(fields).to_string(),
        timeout_seconds: fields
            .number("timeoutSeconds", 1..=TOOL_TIMEOUT_SECONDS_MAX)
            .unwrap_or(TOOL_TIMEOUT_SECONDS),
        filler: fields.text("filler", 1..=FILLER_MAX),
    }
}

/// A tool's parameters as JSON Schema, from either form.
fn read_parameters(fields: &mut Fields<'_>) -> Value {
    match fields.get("parameters") {
        None => schema_of(Map::new(), Vec::new()),
        Some(Value::Object(schema)) => {
            let mut schema = schema.clone();
            let kind = schema.entry("type").or_insert_with(|| json!("object"));
            if kind != "object" {
                fields.mistake("parameters.type", "must be \"object\"");
            }
            Value::Object(schema)
        }
        Some(Value::Array(_)) => schema_of_list(fields),
        Some(_) => {
            fields.mistake("parameters", "must be an array of parameters, or a JSON Schema object");
            Value::Null
        }
    }
}

fn schema_of_list(fields: &mut Fields<'_>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    fields.objects("parameters", PARAMETERS_MAX, |parameter| {
        let name = parameter.required_text("name", 1..=NAME_MAX);
        if parameter.get("type").is_none() {
            parameter.mistake("type", "is required");
        }
        parameter.word("type", &PARAMETER_TYPES);
        parameter.text("description", 0..=PROMPT_MAX);
        if parameter.boolean("required").unwrap_or(false) {
            required.push(Value::String(name.clone()));
        }
        // All else (items, properties, enum …) is JSON Schema already, and stays as it is.
        let mut schema = parameter.whole().clone();
        schema.remove("name");
        if schema.get("required").is_some_and(|required| !required.is_array()) {
            schema.remove("required");
        }
        if properties.insert(name, Value::Object(schema)).is_some() {
            parameter.mistake("name", "is the name of a parameter before it");
        }
    });
    schema_of(properties, required)
}

fn schema_of(properties: Map<String, Value>, required: Vec<Value>) -> Value {
    let (properties, required) = (Value::Object(properties), Value::Array(required));
    Value::Object(
        [
            ("type".into(), "object".into()),
            ("properties".into(), properties),
            ("required".into(), required),
        ]
        .into_iter()
        .collect(),
    )
}

pub(super) const DETECTORS: [(&str, Detector); 3] =
    [("webrtc", Detector::Webrtc), ("earshot", Detector::Earshot), ("silero", Detector::Silero)];
pub(super) const SUPPRESSIONS: [(&str, NoiseSuppression); 3] = [
    ("low", NoiseSuppression::Low),
    ("moderate", NoiseSuppression::Moderate),
    ("high", NoiseSuppression::High),
];

const RECORDING_FORMATS: [RecordingFormat; 2] = [RecordingFormat::Ogg, RecordingFormat::Wav];

/// The one kind of agent there is.
pub(in crate::api) const AGENT_TYPE: &str = "HUMA-0.1";

const ROUTER_TYPES: [&str; 5] =
    ["random", "llm-judge", "conversational", "turn-taking", "voice-game"];
const PARAMETER_TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "object", "array"];

pub(super) const NAME_MAX: usize = 128;
const TOOL_NAME_MAX: usize = 64;
const TOOLS_MAX: usize = 128;
const PARAMETERS_MAX: usize = 128;
const GREETING_MAX: usize = 2_000;
const FILLER_MAX: usize = 200;
pub(super) const CONSENT_MAX: usize = 1_000;
const CONSENT_WANTED: &str = "must be true, or say how those who are recorded have agreed: calls \
                              are not recorded without their consent";
/// The turn detection that is ours and no model's.
const GATEWAY: &str = "gateway";
const SILENCE_MS: RangeInclusive<u64> = 100..=10_000;
const MIN_SPEECH_MS_MAX: u64 = 2_000;
/// Characters of a prompt's part; the bytes of the whole `metadata` have a bound of their own.
const PROMPT_MAX: usize = 131_072;
pub(super) const METADATA_BYTES_MAX: usize = 256 * 1024;
pub(super) const TTL_SECONDS_MAX: u64 = 366 * 24 * 60 * 60;
const TOOL_TIMEOUT_SECONDS: u64 = 30;
const TOOL_TIMEOUT_SECONDS_MAX: u64 = 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_body_is_read() {
        let body = json!({
            "name": "Table 4 dealer", "agentType": "HUMA-0.1", "ttlSeconds": 3600, "userId": "u1",
            "onDuplicate": "return",
            "metadata": {
                "className": "Dealer", "personality": "calm", "instructions": "deal",
                "routerType": "turn-taking", "voice": {"enabled": true, "voiceId": "v"},
                "model": {"profile": "local", "greeting": "Hello", "turnDetection": {"a": 1}},
                "addons": {"unknown": true},
                "tools": [{"name": "deal", "parameters": [], "timeoutSeconds": 5}],
            },
        });
        let read = parse(&body).expect("in order");
        assert_eq!((read.name.as_str(), read.ttl_seconds), ("Table 4 dealer", Some(3600)));
        assert_eq!(read.user_id.as_deref(), Some("u1"));
        assert_eq!(read.on_duplicate, OnDuplicate::Return);
        let metadata = read.metadata;
        assert_eq!(metadata.class_name, "Dealer");
        assert_eq!((metadata.voice_enabled, metadata.voice_id.as_deref()), (true, Some("v")));
        let turns = TurnDetectionBody::Model(r#"{"a":1}"#.into());
        assert_eq!(metadata.model.turn_detection, turns);
        assert_eq!(
            (metadata.tools[0].name.as_str(), metadata.tools[0].timeout_seconds),
            ("deal", 5)
        );
    }

    #[test]
    fn turns_are_detected_by_the_profile_the_model_or_the_gateway() {
        let read = |model: Value| read_model_of(&model).expect("in order").turn_detection;
        assert_eq!(read(json!({})), TurnDetectionBody::Profile);
        let model = json!({"type": "semantic_vad", "eagerness": "low"});
        let passed_on = TurnDetectionBody::Model(model.to_string());
        assert_eq!(read(json!({"turnDetection": model})), passed_on);
        let ours = TurnDetectionBody::Gateway { silence_ms: None };
        assert_eq!(read(json!({"turnDetection": null})), ours);
        assert_eq!(read(json!({"turnDetection": {"type": "gateway"}})), ours);
        let ours = TurnDetectionBody::Gateway { silence_ms: Some(700) };
        assert_eq!(read(json!({"turnDetection": {"type": "gateway", "silenceMs": 700}})), ours);
    }

    #[test]
    fn a_call_is_recorded_only_with_consent() {
        let read = |recording: Value| {
            let metadata = json!({"voice": {"recording": recording}});
            json!({"name": "a", "agentType": "HUMA-0.1", "metadata": metadata})
        };
        let found =
            |recording: Value| parse(&read(recording)).expect("in order").metadata.recording;
        let spec = |format, consent| Some(RecordingSpec { format, consent });
        let ogg = spec(RecordingFormat::Ogg, None);
        assert_eq!(found(json!({"enabled": true, "consent": true})), ogg);
        let told = Some("by the announcement".to_owned());
        let wav = json!({"enabled": true, "format": "wav", "consent": "by the announcement"});
        assert_eq!(found(wav), spec(RecordingFormat::Wav, told));
        assert_eq!(found(json!({"enabled": false})), None);
        assert_eq!(found(json!({"consent": true})), None);
        let at = |field: &str| [format!("metadata.voice.recording.{field}")];
        for consent in [json!(null), json!(false), json!(""), json!(1)] {
            let wrong = read(json!({"enabled": true, "consent": consent}));
            assert_eq!(mistaken_paths(&wrong), at("consent"), "{consent}");
        }
        let wrong = read(json!({"enabled": true, "consent": true, "format": "mp3"}));
        assert_eq!(mistaken_paths(&wrong), at("format"));
    }

    #[test]
    fn noise_is_suppressed_by_a_level_or_not_at_all() {
        let read = |value: Value| {
            let model = json!({"hearing": {"noiseSuppression": value}});
            read_model_of(&model).expect("in order").hearing.noise_suppression
        };
        assert_eq!(read(json!(null)), None);
        assert_eq!(read(json!(false)), Some(NoiseSuppression::Off));
        assert_eq!(read(json!("moderate")), Some(NoiseSuppression::Moderate));
    }

    #[test]
    fn mistakes_of_how_an_agent_speaks_have_their_places() {
        let paths = |model: Value| match read_model_of(&model) {
            Err(mistakes) => mistakes,
            Ok(model) => panic!("mistakes were expected: {model:?}"),
        };
        let at = |field: &str| format!("metadata.model.{field}");
        let wrong = json!({"bargeIn": {"enabled": 1, "minSpeechMs": 2001, "echoGuard": "no"}});
        let all = [at("bargeIn.enabled"), at("bargeIn.minSpeechMs"), at("bargeIn.echoGuard")];
        assert_eq!(paths(wrong), all);
        let wrong = json!({"turnDetection": {"type": "gateway", "silenceMs": 99}});
        assert_eq!(paths(wrong), [at("turnDetection.silenceMs")]);
        let wrong = json!({"turnDetection": {"type": 5}});
        assert_eq!(paths(wrong), [at("turnDetection.type")]);
        let wrong =
            json!({"hearing": {"detector": "ears", "noiseSuppression": true, "gainControl": 1}});
        let all = ["hearing.detector", "hearing.noiseSuppression", "hearing.gainControl"].map(at);
        assert_eq!(paths(wrong), all);
        let wrong = json!({"turnDetection": "server_vad", "trimSilence": "yes"});
        assert_eq!(paths(wrong), [at("turnDetection"), at("trimSilence")]);
    }

    #[test]
    fn metadata_is_kept_to_the_byte() {
        let body = br#"{"name":"a","agentType":"HUMA-0.1","metadata":{ "z": 1.0, "a": [] }}"#;
        let read = NewAgentBody::parse(body).expect("in order");
        assert_eq!(read.metadata_json, r#"{ "z": 1.0, "a": [] }"#);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let body = json!({
            "agentType": "HUMA-1", "ttlSeconds": 0, "userId": 5,
            "metadata": {
                "voice": {"enabled": "yes"}, "routerType": "best",
                "tools": [{"name": "a b"}, {"name": "x", "parameters": 1}, {"name": "x"}],
            },
        });
        let paths = mistaken_paths(&body);
        assert_eq!(
            paths,
            [
                "name",
                "agentType",
                "ttlSeconds",
                "userId",
                "metadata.tools[0].name",
                "metadata.tools[1].parameters",
                "metadata.routerType",
                "metadata.tools[2].name",
                "metadata.voice.enabled",
            ]
        );
    }

    #[test]
    fn what_is_no_json_says_where_it_breaks() {
        let Err(BadBody::NotJson(message)) = NewAgentBody::parse(b"{\"name\": ") else {
            panic!("this is no JSON");
        };
        assert!(message.contains("column"), "{message}");
        assert_eq!(mistaken_paths(&json!([])), [""]);
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(matches!(NewAgentBody::parse(deep.as_bytes()), Err(BadBody::NotJson(_))));
    }

    #[test]
    fn sizes_and_dangerous_keys_have_bounds() {
        let with =
            |metadata: Value| json!({"name": "a", "agentType": "HUMA-0.1", "metadata": metadata});
        let large = "x".repeat(METADATA_BYTES_MAX);
        assert_eq!(mistaken_paths(&with(json!({"notes": large}))), ["metadata"]);
        assert_eq!(mistaken_paths(&with(json!({"x": {"__proto__": {}}}))), ["metadata"]);
        let tools: Vec<_> = (0..129).map(|n| json!({"name": format!("t{n}")})).collect();
        assert_eq!(mistaken_paths(&with(json!({"tools": tools}))), ["metadata.tools"]);
        let mut long = with(json!({}));
        long["name"] = json!("é".repeat(129));
        assert_eq!(mistaken_paths(&long), ["name"]);
        long["name"] = json!("é".repeat(128));
        parse(&long).expect("128 characters are in order, whatever their bytes");
        long["ttlSeconds"] = json!(1.5);
        assert_eq!(mistaken_paths(&long), ["ttlSeconds"]);
    }

    #[test]
    fn array_parameters_become_a_schema() {
        let schema = parameters_of(&json!([
            {"name": "card", "type": "string", "description": "Which.", "required": true},
            {"name": "hands", "type": "array", "items": {"type": "object", "required": ["n"]}},
        ]));
        let expected = json!({
            "type": "object",
            "properties": {
                "card": {"type": "string", "description": "Which."},
                "hands": {"type": "array", "items": {"type": "object", "required": ["n"]}},
            },
            "required": ["card"],
        });
        assert_eq!(schema, expected);
    }

    #[test]
    fn schema_parameters_stay_as_they_are() {
        let schema =
            json!({"properties": {"a": {"type": "string"}}, "additionalProperties": false});
        let read = parameters_of(&schema);
        assert_eq!(read["type"], "object");
        assert_eq!(read["properties"], schema["properties"]);
        assert_eq!(read["additionalProperties"], false);
    }

    fn read_model_of(model: &Value) -> Result<ModelBody, Vec<String>> {
        let metadata = json!({"model": model});
        let body = json!({"name": "a", "agentType": "HUMA-0.1", "metadata": metadata});
        match parse(&body) {
            Ok(body) => Ok(body.metadata.model),
            Err(_) => Err(mistaken_paths(&body)),
        }
    }

    fn parse(body: &Value) -> Result<NewAgentBody, BadBody> {
        NewAgentBody::parse(body.to_string().as_bytes())
    }

    fn mistaken_paths(body: &Value) -> Vec<String> {
        match parse(body) {
            Err(BadBody::Mistakes(mistakes)) => mistakes.into_iter().map(|m| m.path).collect(),
            other => panic!("mistakes were expected: {other:?}"),
        }
    }

    fn parameters_of(parameters: &Value) -> Value {
        let body = json!({
            "name": "a", "agentType": "HUMA-0.1",
            "metadata": {"tools": [{"name": "t", "parameters": parameters}]},
        });
        let read = parse(&body).expect("in order");
        serde_json::from_str(&read.metadata.tools[0].parameters_json).expect("JSON")
    }
}
