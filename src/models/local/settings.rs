//! A session's settings: its defaults, and the updates it takes or refuses.

use serde_json::{Value, json};

use super::endpoint::Detection;
use super::reply::{Kind, Parameter, Tool};
use super::voice::Voice;
use super::wire::{Refusal, only_known};
use crate::models::wire;

/// The session as the client has set it up.
#[derive(Debug)]
pub(super) struct Settings {
    value: Value,
    session: wire::Session,
}

impl Settings {
    /// What a session begins with.
    pub(super) fn new(id: &str, model: &str, voice: Voice, expires_at: u64) -> Self {
        let value = json!({
            "type": "realtime", "object": "realtime.session", "id": id, "model": model,
            "expires_at": expires_at, "instructions": "", "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "noise_reduction": null, "transcription": null,
                    "turn_detection": server_vad(),
                },
                "output": {
                    "format": {"type": "audio/pcm", "rate": 24_000},
                    "voice": voice.name(), "speed": 1.0,
                },
            },
            "tools": [], "tool_choice": "auto", "max_output_tokens": "inf",
            "truncation": "auto", "tracing": null,
        });
        let session = serde_json::from_value(value.clone()).unwrap_or_default();
        Self { value, session }
    }

    /// Takes an update as a whole, or refuses it as a whole.
    pub(super) fn update(&mut self, update: &Value, has_spoken: bool) -> Result<(), Refusal> {
        let Value::Object(fields) = update else {
            return Err(Refusal::missing("session"));
        };
        match fields.get("type") {
            None => return Err(Refusal::missing("session.type")),
            Some(kind) if kind == "realtime" => {}
            Some(_) => {
                let message = "Invalid value: supported values are: 'realtime'.";
                return Err(Refusal::invalid("session.type", message));
            }
        }
        for (path, known) in FIELDS {
            if let Some(Value::Object(fields)) = update.pointer(path) {
                only_known(fields, known, &dotted(path, ""))?;
            }
        }
        for (path, check, wanted) in VALUES {
            if update.pointer(path).is_some_and(|value| !check(value)) {
                let message = format!("Invalid value: {wanted}.");
                return Err(Refusal::invalid(dotted(path, "").trim_end_matches('.'), message));
            }
        }
        check_tools(update)?;
        let mut value = self.value.clone();
        merge(&mut value, update);
        if has_spoken && value.pointer(VOICE) != self.value.pointer(VOICE) {
            let message = "Cannot update a conversation's voice if assistant audio is present.";
            return Err(Refusal::new("cannot_update_voice", message));
        }
        let session = serde_json::from_value(value.clone()).map_err(|error| {
            Refusal::new("invalid_type", format!("Invalid session: {error}.")).at("session")
        })?;
        (self.value, self.session) = (value, session);
        Ok(())
    }

    /// The session as events carry it.
    pub(super) fn session(&self) -> &wire::Session {
        &self.session
    }

    /// How turns end; `None` leaves it to the client.
    pub(super) fn detection(&self) -> Option<Detection> {
        let turn = self.input()?.turn_detection.value()?;
        let default = Detection::default();
        let eager_ms = match turn.eagerness.as_deref() {
            Some("low") => 1000,
            Some("high") => 300,
            _ => default.silence_duration_ms,
        };
        Some(Detection {
            threshold: turn.threshold.unwrap_or(default.threshold),
            prefix_padding_ms: turn.prefix_padding_ms.unwrap_or(default.prefix_padding_ms),
            silence_duration_ms: turn.silence_duration_ms.unwrap_or(eager_ms),
            create_response: turn.create_response.unwrap_or(true),
            interrupt_response: turn.interrupt_response.unwrap_or(true),
        })
    }

    /// Whether the client wants to read what it said.
    pub(super) fn transcribes(&self) -> bool {
        self.input().is_some_and(|input| input.transcription.value().is_some())
    }

    /// Whether answers are text alone.
    pub(super) fn is_text_only(&self) -> bool {
        is_text(self.session.output_modalities.as_deref())
    }

    /// Whether they would be, with this update.
    pub(super) fn is_text_only_with(&self, update: &Value) -> bool {
        match update.get("output_modalities") {
            Some(modalities) => *modalities == json!(["text"]),
            None => self.is_text_only(),
        }
    }

    /// The voice, if it is one of ours; names of other servers' voices mean the server's own.
    pub(super) fn voice(&self, own: Voice) -> Voice {
        let output = self.session.audio.as_ref().and_then(|audio| audio.output.as_ref());
        match output.and_then(|output| output.voice.as_ref()) {
            Some(wire::Voice::Name(name)) => Voice::named(name).unwrap_or(own),
            Some(wire::Voice::Custom { .. }) | None => own,
        }
    }

    /// The tools the mind may call.
    pub(super) fn tools(&self) -> Vec<Tool> {
        match self.session.tool_choice.as_ref().and_then(Value::as_str) {
            Some("none") => Vec::new(),
            _ => tools(self.session.tools.as_deref().unwrap_or_default()),
        }
    }

    fn input(&self) -> Option<&wire::AudioInput> {
        self.session.audio.as_ref()?.input.as_ref()
    }
}

/// Whether these modalities are text alone.
pub(super) fn is_text(modalities: Option<&[String]>) -> bool {
    matches!(modalities, Some([only]) if only == "text")
}

/// Declared tools as the mind knows them.
pub(super) fn tools(declared: &[wire::Tool]) -> Vec<Tool> {
    let tool = |tool: &wire::Tool| Tool {
        name: tool.name.clone().unwrap_or_default(),
        description: tool.description.clone().unwrap_or_default(),
        parameters: parameters(tool.parameters.as_ref()),
    };
    declared.iter().map(tool).collect()
}

fn parameters(schema: Option<&Value>) -> Vec<Parameter> {
    let required = |name: &str| {
        let list = schema.and_then(|schema| schema.get("required")).and_then(Value::as_array);
        list.is_some_and(|list| list.iter().any(|required| required == name))
    };
    let properties = schema.and_then(|schema| schema.get("properties"));
    let properties = properties.and_then(Value::as_object).into_iter().flatten();
    let parameter = |(name, property): (&String, &Value)| Parameter {
        name: name.clone(),
        kind: kind(property),
        is_required: required(name),
    };
    properties.map(parameter).collect()
}

fn kind(property: &Value) -> Kind {
    if let Some(options) = property.get("enum").and_then(Value::as_array) {
        return Kind::OneOf(options.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    match property.get("type").and_then(Value::as_str) {
        Some("number" | "integer") => Kind::Number,
        Some("boolean") => Kind::Flag,
        _ => Kind::Text,
    }
}

fn check_tools(update: &Value) -> Result<(), Refusal> {
    let tools = update.get("tools").and_then(Value::as_array).into_iter().flatten();
    for (place, tool) in tools.enumerate() {
        let at = |field: &str| format!("session.tools[{place}].{field}");
        if tool.get("type").is_none_or(|kind| kind != "function") {
            let message = "Invalid value: supported values are: 'function'.";
            return Err(Refusal::invalid(&at("type"), message));
        }
        if tool.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Refusal::missing(&at("name")));
        }
    }
    Ok(())
}

/// Lays an update over the settings: objects field by field where the protocol does so, all else
/// as a whole.
fn merge(into: &mut Value, update: &Value) {
    let (Value::Object(into), Value::Object(update)) = (into, update) else { return };
    for (name, value) in update {
        let old = into.entry(name.clone()).or_insert(Value::Null);
        if value.is_object() && DEEP.contains(&name.as_str()) {
            if !old.is_object() {
                *old = json!({});
            }
            merge(old, value);
        } else {
            *old = value.clone();
        }
    }
}

fn dotted(path: &str, end: &str) -> String {
    format!("session{}.{end}", path.replace('/', "."))
}

fn server_vad() -> Value {
    let Detection {
        threshold,
        prefix_padding_ms,
        silence_duration_ms,
        create_response,
        interrupt_response,
    } = Detection::default();
    json!({
        "type": "server_vad", "threshold": threshold, "prefix_padding_ms": prefix_padding_ms,
        "silence_duration_ms": silence_duration_ms, "create_response": create_response,
        "interrupt_response": interrupt_response, "idle_timeout_ms": null,
    })
}

fn is_pcm(format: &Value) -> bool {
    format.get("type").is_none_or(|kind| kind == "audio/pcm")
        && format.get("rate").is_none_or(|rate| rate == 24_000)
}

fn is_share(value: &Value) -> bool {
    value.as_f64().is_some_and(|share| (0.0..=1.0).contains(&share))
}

fn is_duration(value: &Value) -> bool {
    value.as_u64().is_some_and(|ms| ms <= 10_000)
}

fn is_detection(value: &Value) -> bool {
    let kind = value.get("type").and_then(Value::as_str);
    value.is_null() || kind.is_none() || matches!(kind, Some("server_vad" | "semantic_vad"))
}

fn is_modalities(value: &Value) -> bool {
    *value == json!(["audio"]) || *value == json!(["text"])
}

const VOICE: &str = "/audio/output/voice";
const DEEP: &[&str] =
    &["audio", "input", "output", "format", "turn_detection", "transcription", "noise_reduction"];
/// What each object may have.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "type",
            "model",
            "instructions",
            "output_modalities",
            "audio",
            "include",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "reasoning",
            "max_output_tokens",
            "truncation",
            "tracing",
            "prompt",
        ],
    ),
    ("/audio", &["input", "output"]),
    ("/audio/input", &["format", "noise_reduction", "transcription", "turn_detection"]),
    ("/audio/input/format", &["type", "rate"]),
    ("/audio/input/noise_reduction", &["type", "strength"]),
    (
        "/audio/input/transcription",
        &["model", "language", "prompt", "delay", "languages", "keywords"],
    ),
    (
        "/audio/input/turn_detection",
        &[
            "type",
            "threshold",
            "prefix_padding_ms",
            "silence_duration_ms",
            "create_response",
            "interrupt_response",
            "idle_timeout_ms",
            "eagerness",
        ],
    ),
    ("/audio/output", &["format", "voice", "speed"]),
    ("/audio/output/format", &["type", "rate"]),
];
/// A value, whether it will do, and what would.
type Check = (&'static str, fn(&Value) -> bool, &'static str);
const VALUES: &[Check] = &[
    ("/output_modalities", is_modalities, "either ['audio'] or ['text'] is taken"),
    ("/audio/input/format", is_pcm, "this server takes 'audio/pcm' at rate 24000"),
    ("/audio/output/format", is_pcm, "this server speaks 'audio/pcm' at rate 24000"),
    (
        "/audio/input/turn_detection",
        is_detection,
        "supported types are: 'server_vad' and 'semantic_vad'",
    ),
    ("/audio/input/turn_detection/threshold", is_share, "a number from 0 to 1 is taken"),
    (
        "/audio/input/turn_detection/prefix_padding_ms",
        is_duration,
        "milliseconds from 0 to 10000 are taken",
    ),
    (
        "/audio/input/turn_detection/silence_duration_ms",
        is_duration,
        "milliseconds from 0 to 10000 are taken",
    ),
    (
        "/audio/input/turn_detection/idle_timeout_ms",
        Value::is_null,
        "this server does not speak up by itself",
    ),
    ("/audio/output/speed", |speed| speed.as_f64() == Some(1.0), "this server speaks at 1.0"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_changes_what_it_names_and_nothing_else() {
        let mut settings = settings();
        let update = json!({"type": "realtime", "audio": {"input": {
            "transcription": {"model": "moonshine"},
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 200},
        }}});
        settings.update(&update, false).unwrap();
        let detection = settings.detection().unwrap();
        assert_eq!((detection.silence_duration_ms, detection.prefix_padding_ms), (200, 300));
        assert!(settings.transcribes() && !settings.is_text_only());
        assert_eq!(settings.voice(Voice::Awb), Voice::Rms);
    }

    #[test]
    fn null_switches_detection_off_and_an_object_on_again() {
        let mut settings = settings();
        let with =
            |value| json!({"type": "realtime", "audio": {"input": {"turn_detection": value}}});
        settings.update(&with(Value::Null), false).unwrap();
        assert_eq!(settings.detection(), None);
        settings
            .update(&with(json!({"type": "semantic_vad", "eagerness": "high"})), false)
            .unwrap();
        assert_eq!(settings.detection().unwrap().silence_duration_ms, 300);
    }

    #[test]
    fn one_bad_field_refuses_the_whole_update() {
        for (update, param) in [
            (json!({"instructions": "x"}), "session.type"),
            (json!({"type": "transcription"}), "session.type"),
            (json!({"type": "realtime", "temperature": 0.8}), "session.temperature"),
            (json!({"type": "realtime", "output_modalities": ["audio", "text"]}), {
                "session.output_modalities"
            }),
            (
                json!({"type": "realtime", "audio": {"input": {"vad": 1}}}),
                "session.audio.input.vad",
            ),
            (
                json!({"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}}}}),
                { "session.audio.input.format" },
            ),
            (json!({"type": "realtime", "tools": [{"type": "function"}]}), "session.tools[0].name"),
            (json!({"type": "realtime", "instructions": 7}), "session"),
        ] {
            let mut settings = settings();
            let mut whole = update;
            whole["audio"]["output"]["voice"] = "slt".into();
            let refusal = settings.update(&whole, false).unwrap_err();
            let event = refusal.event(None).encode(None);
            assert!(event.contains(&format!("\"param\":\"{param}\"")), "{event}");
            assert_eq!(settings.voice(Voice::Rms), Voice::Rms);
        }
    }

    #[test]
    fn a_voice_that_has_spoken_stays() {
        let update = json!({"type": "realtime", "audio": {"output": {"voice": "slt"}}});
        let mut settings = settings();
        assert!(settings.update(&update, true).is_err());
        settings.update(&update, false).unwrap();
        assert_eq!(settings.voice(Voice::Rms), Voice::Slt);
        settings.update(&update, true).unwrap();
    }

    #[test]
    fn tools_are_read_from_their_schemas() {
        let mut settings = settings();
        let schema = json!({"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"},
            "unit": {"enum": ["celsius", "kelvin"]},
        }});
        let tool = json!({"type": "function", "name": "get_weather", "parameters": schema});
        settings.update(&json!({"type": "realtime", "tools": [tool]}), false).unwrap();
        let tools = settings.tools();
        let parameters: Vec<_> = tools[0].parameters.iter().collect();
        assert_eq!((parameters[0].name.as_str(), parameters[0].is_required), ("city", true));
        assert_eq!((&parameters[1].kind, parameters[1].is_required), (&Kind::Number, false));
        assert_eq!(parameters[2].kind, Kind::OneOf(vec!["celsius".into(), "kelvin".into()]));
        settings.update(&json!({"type": "realtime", "tool_choice": "none"}), false).unwrap();
        assert!(settings.tools().is_empty());
    }

    fn settings() -> Settings {
        Settings::new("sess_1", "local", Voice::Rms, 0)
    }
}
