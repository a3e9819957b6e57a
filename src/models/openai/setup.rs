//! The settings a session begins with, from the agent's spec and the profile.

use crate::agent::{AgentSpec, Medium, ToolSpec, TurnDetection as Turns};
use crate::models::ModelProfile;
use crate::models::dialect::{Dialect, Feature};
use crate::models::wire::{
    AudioFormat, AudioInput, AudioOutput, Field, JsonError, NoiseReduction, Session, SessionAudio,
    SessionUpdate, Tool, Transcription, TurnDetection, Voice,
};

/// Why there can be no session for this agent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    /// Neither an object nor `null`.
    #[error("the turn detection is not valid: {0}")]
    TurnDetection(JsonError),
    /// Asked of a server whose dialect does not have it.
    #[error("a server of the dialect {dialect} has no {feature}")]
    Unknown {
        /// The dialect.
        dialect: &'static str,
        /// What it does not have.
        feature: &'static str,
    },
    /// Not a JSON Schema object.
    #[error("the parameters of tool {name:?} are not valid: {source}")]
    Tool {
        /// The tool.
        name: String,
        /// What is wrong.
        source: JsonError,
    },
}

/// The first and only `session.update`, in the protocol's own words, which `wire::encode_for` puts
/// into those of the dialect. Only what is set goes out: a server refuses the whole
/// update for one field it does not know.
pub(super) fn session_update(
    profile: &ModelProfile,
    spec: &AgentSpec,
    medium: Medium,
) -> Result<SessionUpdate, SetupError> {
    let (modality, audio) = match medium {
        Medium::Voice => ("audio", audio(profile, spec)?),
        Medium::Text => ("text", no_audio()),
    };
    let session = Session {
        kind: Some("realtime".to_owned()),
        instructions: Some(spec.instructions.clone()),
        output_modalities: Some(vec![modality.to_owned()]),
        audio: Some(audio),
        tools: Some(spec.tools.iter().map(tool).collect::<Result<_, _>>()?),
        ..Session::default()
    };
    Ok(SessionUpdate { session: Box::new(session) })
}

fn audio(profile: &ModelProfile, spec: &AgentSpec) -> Result<SessionAudio, SetupError> {
    let voice = spec.model.voice.as_ref().or(profile.voice.as_ref());
    let output = AudioOutput {
        format: Some(AudioFormat::pcm_24k()),
        voice: voice.cloned().map(Voice::Name),
        speed: None,
    };
    Ok(SessionAudio { input: Some(audio_input(profile, spec)?), output: Some(output) })
}

/// No sound is sent and none is wanted, so there are no turns to detect: a server would do so
/// unless it is told. Transcription is off unless it is asked for.
fn no_audio() -> SessionAudio {
    let input = AudioInput { turn_detection: Field::Null, ..AudioInput::default() };
    SessionAudio { input: Some(input), output: None }
}

fn audio_input(profile: &ModelProfile, spec: &AgentSpec) -> Result<AudioInput, SetupError> {
    let dialect = &profile.dialect;
    let turn_detection = match (&spec.model.turn_detection, &profile.turn_detection_json) {
        (Turns::Gateway { .. }, _) => Field::Null,
        (Turns::Model { json }, _) | (Turns::Profile, Some(json)) => {
            TurnDetection::from_json(json).map_err(SetupError::TurnDetection)?
        }
        (Turns::Profile, None) => Field::Value(server_vad(dialect)),
    };
    let kind = turn_detection.value().and_then(|detection| detection.kind.as_deref());
    if kind == Some("semantic_vad") && !dialect.has(Feature::SemanticVad) {
        return Err(SetupError::Unknown { dialect: dialect.name, feature: "semantic_vad" });
    }
    let transcription = profile.transcription.as_ref().map_or(Field::Absent, |model| {
        Field::Value(Transcription { model: Some(model.clone()), ..Transcription::default() })
    });
    Ok(AudioInput {
        format: Some(AudioFormat::pcm_24k()),
        noise_reduction: noise_reduction(profile)?,
        transcription,
        turn_detection,
    })
}

fn noise_reduction(profile: &ModelProfile) -> Result<Field<NoiseReduction>, SetupError> {
    let Some(kind) = &profile.noise_reduction else { return Ok(Field::Absent) };
    let dialect = &profile.dialect;
    if !dialect.has(Feature::NoiseReduction) {
        return Err(SetupError::Unknown { dialect: dialect.name, feature: "noise reduction" });
    }
    Ok(Field::Value(NoiseReduction { kind: Some(kind.clone()), strength: None }))
}

/// The server ends turns by silence, answers, and stops when it is spoken over.
fn server_vad(dialect: &Dialect) -> TurnDetection {
    let on = dialect.has(Feature::TurnFlags).then_some(true);
    TurnDetection {
        kind: Some("server_vad".to_owned()),
        create_response: on,
        interrupt_response: on,
        ..TurnDetection::default()
    }
}

fn tool(spec: &ToolSpec) -> Result<Tool, SetupError> {
    Tool::function(&spec.name, &spec.description, &spec.parameters_json)
        .map_err(|source| SetupError::Tool { name: spec.name.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::models::wire::ClientEvent;

    #[test]
    fn the_update_says_what_is_set_and_nothing_else() {
        let spec = AgentSpec {
            instructions: "Be kind.".into(),
            tools: vec![weather(r#"{"type":"object","properties":{}}"#)],
            ..AgentSpec::default()
        };
        let profile = ModelProfile { voice: Some("marin".into()), ..profile() };
        let update: serde_json::Value = serde_json::from_str(&encoded(&profile, &spec)).unwrap();
        let format = json!({"type": "audio/pcm", "rate": 24_000});
        let turn_detection =
            json!({"type": "server_vad", "create_response": true, "interrupt_response": true});
        let expected = json!({"type": "session.update", "session": {
            "type": "realtime",
            "instructions": "Be kind.",
            "output_modalities": ["audio"],
            "audio": {
                "input": {"format": format, "turn_detection": turn_detection},
                "output": {"format": format, "voice": "marin"},
            },
            "tools": [{
                "type": "function",
                "name": "weather",
                "description": "Tells the weather.",
                "parameters": {"type": "object", "properties": {}},
            }],
        }});
        assert_eq!(update, expected);
    }

    #[test]
    fn in_text_there_is_no_voice_no_ear_and_no_turn() {
        let mut spec = AgentSpec { instructions: "Be kind.".into(), ..AgentSpec::default() };
        spec.tools = vec![weather(r#"{"type":"object"}"#)];
        spec.model.voice = Some("cedar".into());
        spec.model.turn_detection = Turns::Model { json: "[".into() };
        let profile = ModelProfile { transcription: Some("gpt-transcribe".into()), ..profile() };
        let update = session_update(&profile, &spec, Medium::Text).unwrap();
        let update = ClientEvent::SessionUpdate(update).encode(None);
        let expected = json!({"type": "session.update", "session": {
            "type": "realtime",
            "instructions": "Be kind.",
            "output_modalities": ["text"],
            "audio": {"input": {"turn_detection": null}},
            "tools": [{
                "type": "function",
                "name": "weather",
                "description": "Tells the weather.",
                "parameters": {"type": "object"},
            }],
        }});
        assert_eq!(serde_json::from_str::<serde_json::Value>(&update).unwrap(), expected);
    }

    #[test]
    fn the_agents_own_choices_come_before_the_profiles() {
        let mut spec = AgentSpec::default();
        spec.model.voice = Some("cedar".into());
        spec.model.turn_detection = Turns::Model { json: "null".into() };
        let profile = ModelProfile {
            voice: Some("marin".into()),
            transcription: Some("gpt-transcribe".into()),
            turn_detection_json: Some(r#"{"type":"semantic_vad","novel":1}"#.into()),
            ..profile()
        };
        let update = encoded(&profile, &spec);
        assert!(update.contains(r#""voice":"cedar""#), "{update}");
        assert!(update.contains(r#""turn_detection":null"#), "{update}");
        assert!(update.contains(r#""transcription":{"model":"gpt-transcribe"}"#), "{update}");

        let update = encoded(&profile, &AgentSpec::default());
        assert!(update.contains(r#"{"type":"semantic_vad","novel":1}"#), "{update}");
    }

    #[test]
    fn settings_that_are_no_json_are_named() {
        let mut spec = AgentSpec::default();
        spec.model.turn_detection = Turns::Model { json: "[".into() };
        let error = session_update(&profile(), &spec, Medium::Voice).unwrap_err().to_string();
        assert!(error.starts_with("the turn detection is not valid"), "{error}");

        let spec = AgentSpec { tools: vec![weather("{")], ..AgentSpec::default() };
        let error = session_update(&profile(), &spec, Medium::Voice).unwrap_err().to_string();
        assert!(error.starts_with(r#"the parameters of tool "weather""#), "{error}");
    }

    fn encoded(profile: &ModelProfile, spec: &AgentSpec) -> String {
        let update = session_update(profile, spec, Medium::Voice).unwrap();
        ClientEvent::SessionUpdate(update).encode(None)
    }

    fn profile() -> ModelProfile {
        ModelProfile::new("test", "ws://127.0.0.1:1")
    }

    fn weather(parameters_json: &str) -> ToolSpec {
        ToolSpec {
            name: "weather".into(),
            description: "Tells the weather.".into(),
            parameters_json: parameters_json.into(),
            timeout: Duration::from_secs(1),
            filler: None,
        }
    }
}
