//! How the agent that a journal is about is written, and how long things may take for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::shapes::lists;
use crate::agent::{
    AgentSpec, BargeIn, Detector, Hearing, Limits, ModelSpec, NoiseSuppression, RecordingFormat,
    RecordingSpec, ToolSpec, TurnDetection,
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "AgentSpec")]
pub(super) struct AgentSpecDef {
    name: String,
    instructions: String,
    #[serde(with = "tools")]
    tools: Vec<ToolSpec>,
    voice_enabled: bool,
    #[serde(with = "ModelSpecDef")]
    model: ModelSpec,
    #[serde(with = "recording", default)]
    recording: Option<RecordingSpec>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RecordingSpec")]
struct RecordingSpecDef {
    #[serde(with = "RecordingFormatDef")]
    format: RecordingFormat,
    consent: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RecordingFormat", rename_all = "snake_case")]
enum RecordingFormatDef {
    Ogg,
    Wav,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ModelSpec")]
struct ModelSpecDef {
    profile: Option<String>,
    voice: Option<String>,
    greeting: Option<String>,
    #[serde(with = "TurnDetectionDef")]
    turn_detection: TurnDetection,
    #[serde(with = "BargeInDef")]
    barge_in: BargeIn,
    trim_silence: bool,
    #[serde(with = "HearingDef", default)]
    hearing: Hearing,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Hearing")]
struct HearingDef {
    #[serde(with = "DetectorDef")]
    detector: Detector,
    #[serde(with = "NoiseSuppressionDef")]
    noise_suppression: NoiseSuppression,
    gain_control: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Detector", rename_all = "snake_case")]
enum DetectorDef {
    Webrtc,
    Earshot,
    Silero,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "NoiseSuppression", rename_all = "snake_case")]
enum NoiseSuppressionDef {
    Off,
    Low,
    Moderate,
    High,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TurnDetection", rename_all = "snake_case")]
enum TurnDetectionDef {
    Profile,
    Model { json: String },
    Gateway { silence: Duration },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "BargeIn")]
struct BargeInDef {
    enabled: bool,
    min_speech: Duration,
    echo_guard: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ToolSpec")]
struct ToolSpecDef {
    name: String,
    description: String,
    parameters_json: String,
    timeout: Duration,
    filler: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Limits")]
pub(super) struct LimitsDef {
    client_grace: Duration,
    joining: Duration,
    leaving: Duration,
    model_opening: Duration,
    answer: Duration,
    turn_end: Duration,
    idle: Duration,
    alone: Duration,
    inactive: Duration,
    text_linger: Duration,
    farewell: Duration,
    handoff: Duration,
    hold: Duration,
    filler: Duration,
    model_restoring: Duration,
    rounds_max: u32,
    shutdown_grace: Duration,
}

lists! {
    tools of ToolSpec as "ToolSpecDef";
}

mod recording {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{RecordingSpec, RecordingSpecDef};

    #[derive(Serialize)]
    struct Lent<'a>(#[serde(with = "RecordingSpecDef")] &'a RecordingSpec);

    #[derive(Deserialize)]
    struct Own(#[serde(with = "RecordingSpecDef")] RecordingSpec);

    #[expect(clippy::ref_option, reason = "serde's own shape")]
    pub(super) fn serialize<S: Serializer>(
        of: &Option<RecordingSpec>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        of.as_ref().map(Lent).serialize(to)
    }

    pub(super) fn deserialize<'de, D>(from: D) -> Result<Option<RecordingSpec>, D::Error>
    where
        D: Deserializer<'de>,
    {
        Ok(Option::<Own>::deserialize(from)?.map(|Own(recording)| recording))
    }
}
