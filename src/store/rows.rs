//! How values lie in rows: times, texts, and an agent's spec, which is JSON in a shape of its own
//! that old rows keep.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::Any;
use sqlx::any::AnyArguments;
use sqlx::query::Query;

use super::StoreError;
use crate::agent::{
    AgentSpec, BargeIn, Detector, Hearing, ModelSpec, NoiseSuppression, RecordingFormat,
    RecordingSpec, ToolSpec, TurnDetection,
};

/// The spec as the text of its row.
pub(super) fn spec_to_text(spec: &AgentSpec) -> Result<String, StoreError> {
    serde_json::to_string(&SpecRow::from(spec)).map_err(|error| unreadable(&error))
}

/// The spec from the text of its row.
pub(super) fn spec_from_text(text: &str) -> Result<AgentSpec, StoreError> {
    let row: SpecRow = serde_json::from_str(text).map_err(|error| unreadable(&error))?;
    Ok(row.into())
}

/// A time as the database holds it. Times beyond 292 million years are cut off.
pub(super) fn ms_to_column(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A time as the database has held it.
pub(super) fn ms_from_column(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

/// Binds texts that come from outside. `PostgreSQL` has no place for NUL in a text, and would
/// refuse the row for it: whatever the database, U+FFFD stands there instead.
pub(super) trait BindText: Sized {
    /// Binds a text.
    fn text(self, text: &str) -> Self;
    /// Binds a text or NULL.
    fn maybe_text(self, text: Option<&str>) -> Self;
}

impl BindText for Query<'_, Any, AnyArguments> {
    fn text(self, text: &str) -> Self {
        self.bind(without_nul(text))
    }

    fn maybe_text(self, text: Option<&str>) -> Self {
        self.bind(text.map(without_nul))
    }
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[derive(Serialize, Deserialize)]
struct SpecRow {
    name: String,
    instructions: String,
    tools: Vec<ToolRow>,
    voice_enabled: bool,
    #[serde(default)]
    model: ModelRow,
    #[serde(default)]
    recording: Option<RecordingRow>,
}

#[derive(Serialize, Deserialize)]
struct RecordingRow {
    #[serde(with = "RecordingFormatRow")]
    format: RecordingFormat,
    consent: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RecordingFormat", rename_all = "snake_case")]
enum RecordingFormatRow {
    Ogg,
    Wav,
}

#[derive(Serialize, Deserialize)]
struct ToolRow {
    name: String,
    description: String,
    parameters_json: String,
    timeout_ms: u64,
    #[serde(default)]
    filler: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(default)]
struct ModelRow {
    profile: Option<String>,
    voice: Option<String>,
    greeting: Option<String>,
    /// The model's turn detection.
    turn_detection_json: Option<String>,
    /// Our own, in its place.
    turn_silence_ms: Option<u64>,
    barge_in: bool,
    min_speech_ms: u64,
    echo_guard: bool,
    trim_silence: bool,
    #[serde(with = "HearingRow")]
    hearing: Hearing,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Hearing")]
struct HearingRow {
    #[serde(with = "DetectorRow")]
    detector: Detector,
    #[serde(with = "NoiseSuppressionRow")]
    noise_suppression: NoiseSuppression,
    gain_control: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Detector", rename_all = "snake_case")]
enum DetectorRow {
    Webrtc,
    Earshot,
    Silero,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "NoiseSuppression", rename_all = "snake_case")]
enum NoiseSuppressionRow {
    Off,
    Low,
    Moderate,
    High,
}

impl From<&AgentSpec> for SpecRow {
    fn from(spec: &AgentSpec) -> Self {
        let AgentSpec { name, instructions, tools, voice_enabled, model, recording } = spec.clone();
        let tools = tools.into_iter().map(ToolRow::from).collect();
        let recording =
            recording.map(|RecordingSpec { format, consent }| RecordingRow { format, consent });
        Self { name, instructions, tools, voice_enabled, model: model.into(), recording }
    }
}

impl From<SpecRow> for AgentSpec {
    fn from(row: SpecRow) -> Self {
        let SpecRow { name, instructions, tools, voice_enabled, model, recording } = row;
        let tools = tools.into_iter().map(ToolSpec::from).collect();
        let recording =
            recording.map(|RecordingRow { format, consent }| RecordingSpec { format, consent });
        Self { name, instructions, tools, voice_enabled, model: model.into(), recording }
    }
}

impl From<ToolSpec> for ToolRow {
    fn from(tool: ToolSpec) -> Self {
        let ToolSpec { name, description, parameters_json, timeout, filler } = tool;
        Self { name, description, parameters_json, timeout_ms: ms_of(timeout), filler }
    }
}

impl From<ToolRow> for ToolSpec {
    fn from(row: ToolRow) -> Self {
        let ToolRow { name, description, parameters_json, timeout_ms, filler } = row;
        let timeout = Duration::from_millis(timeout_ms);
        Self { name, description, parameters_json, timeout, filler }
    }
}

impl From<ModelSpec> for ModelRow {
    fn from(model: ModelSpec) -> Self {
        let ModelSpec { profile, voice, greeting, barge_in, trim_silence, hearing, .. } = model;
        let (turn_detection_json, turn_silence_ms) = match model.turn_detection {
            TurnDetection::Profile => (None, None),
            TurnDetection::Model { json } => (Some(json), None),
            TurnDetection::Gateway { silence } => (None, Some(ms_of(silence))),
        };
        Self {
            profile,
            voice,
            greeting,
            turn_detection_json,
            turn_silence_ms,
            barge_in: barge_in.enabled,
            min_speech_ms: ms_of(barge_in.min_speech),
            echo_guard: barge_in.echo_guard,
            trim_silence,
            hearing,
        }
    }
}

impl From<ModelRow> for ModelSpec {
    fn from(row: ModelRow) -> Self {
        let turn_detection = match (row.turn_silence_ms, row.turn_detection_json) {
            (Some(ms), _) => TurnDetection::Gateway { silence: Duration::from_millis(ms) },
            (None, Some(json)) => TurnDetection::Model { json },
            (None, None) => TurnDetection::Profile,
        };
        let barge_in = BargeIn {
            enabled: row.barge_in,
            min_speech: Duration::from_millis(row.min_speech_ms),
            echo_guard: row.echo_guard,
        };
        let ModelRow { profile, voice, greeting, trim_silence, hearing, .. } = row;
        Self { profile, voice, greeting, turn_detection, barge_in, trim_silence, hearing }
    }
}

impl Default for ModelRow {
    fn default() -> Self {
        ModelSpec::default().into()
    }
}

fn ms_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn unreadable(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { what: "agent spec", reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_comes_back_as_it_went() {
        let spec = AgentSpec {
            name: "Ida".into(),
            instructions: "Be brief.".into(),
            tools: vec![ToolSpec {
                name: "look_up".into(),
                description: "Looks it up.".into(),
                parameters_json: r#"{"type":"object"}"#.into(),
                timeout: Duration::from_secs(30),
                filler: Some("One moment.".into()),
            }],
            voice_enabled: true,
            model: ModelSpec {
                greeting: Some("Hello".into()),
                turn_detection: TurnDetection::Gateway { silence: Duration::from_millis(700) },
                barge_in: BargeIn {
                    enabled: false,
                    min_speech: Duration::from_millis(240),
                    echo_guard: false,
                },
                trim_silence: false,
                hearing: Hearing {
                    detector: Detector::Silero,
                    noise_suppression: NoiseSuppression::High,
                    gain_control: true,
                },
                ..ModelSpec::default()
            },
            recording: Some(RecordingSpec {
                format: RecordingFormat::Wav,
                consent: Some("by the announcement".into()),
            }),
        };
        let text = spec_to_text(&spec).expect("written");
        assert_eq!(spec_from_text(&text).expect("read"), spec);
    }

    #[test]
    fn a_row_without_a_model_reads_as_the_default_one() {
        let text = r#"{"name":"a","instructions":"","tools":[],"voice_enabled":false}"#;
        assert_eq!(spec_from_text(text).expect("read").model, ModelSpec::default());
    }

    #[test]
    fn a_broken_row_says_so() {
        let error = spec_from_text("{").expect_err("no spec");
        assert!(error.to_string().contains("agent spec"), "{error}");
    }
}
