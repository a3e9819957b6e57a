//! What an agent is made of: who it is, which tools it may call, how it speaks.

use std::time::Duration;

use crate::ids::{AgentId, UserId};

/// Everything a conversation needs to know of its agent. It never changes while the agent works.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct AgentSpec {
    /// The name others see in a call.
    pub name: String,
    /// The whole prompt: class, personality and instructions, put together.
    pub instructions: String,
    /// The tools the model may call; clients run them.
    pub tools: Vec<ToolSpec>,
    /// Whether the agent may join calls at all.
    pub voice_enabled: bool,
    /// How the agent thinks and speaks.
    pub model: ModelSpec,
    /// How its calls are recorded, if they are.
    pub recording: Option<RecordingSpec>,
}

/// How the calls of an agent are recorded. That callers agree is stated by whoever makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingSpec {
    /// What the sound is written as.
    pub format: RecordingFormat,
    /// How callers have come to agree, where that was put in words.
    pub consent: Option<String>,
}

/// What the sound of a recording is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RecordingFormat {
    /// Opus in Ogg.
    #[default]
    Ogg,
    /// Samples of 16 bits at 24 kHz.
    Wav,
}

impl RecordingFormat {
    /// The format as owners name it, which is also how its files end.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ogg => "ogg",
            Self::Wav => "wav",
        }
    }

    /// The media type of its files.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Ogg => "audio/ogg",
            Self::Wav => "audio/wav",
        }
    }
}

/// The model behind an agent. `None` leaves a choice to the profile.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// The name of a configured profile.
    pub profile: Option<String>,
    /// The voice, in the words of the profile.
    pub voice: Option<String>,
    /// What the agent says first in a call, as soon as somebody is there.
    pub greeting: Option<String>,
    /// Who says when a participant's turn is over.
    pub turn_detection: TurnDetection,
    /// How it may be spoken over.
    pub barge_in: BargeIn,
    /// Whether the silence that a model puts before its answers is left out.
    pub trim_silence: bool,
    /// How others' sound is made ready, and told from noise.
    pub hearing: Hearing,
}

/// Who says when a participant's turn is over.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum TurnDetection {
    /// Whoever the profile names; the model by silence, if it names nobody.
    #[default]
    Profile,
    /// The model, in this way.
    Model {
        /// What the model takes (`session.audio.input.turn_detection`), a JSON object.
        json: String,
    },
    /// This gateway: by its own ear, and so long after the end of speech.
    Gateway {
        /// How long nobody speaks before the turn is over.
        silence: Duration,
    },
}

/// How an agent may be spoken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BargeIn {
    /// Whether it may be at all. If not, nobody is heard while it speaks (half duplex).
    pub enabled: bool,
    /// How much voice it takes until an answer is broken off. Until then it is only held, and goes
    /// on after what was no speech.
    pub min_speech: Duration,
    /// Whether what comes back of the agent's own voice is told from speech.
    pub echo_guard: bool,
}

/// How others are heard in a call, and spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// How the agent may be spoken over.
    pub barge_in: BargeIn,
    /// Whether silence before an answer is left out.
    pub trim_silence: bool,
    /// How their sound is made ready, and told from noise.
    pub hearing: Hearing,
}

/// How the sound of each participant is made ready, and told from noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Hearing {
    /// What tells speech from other sound.
    pub detector: Detector,
    /// How much of a steady noise is taken away.
    pub noise_suppression: NoiseSuppression,
    /// Whether quiet voices are made louder.
    pub gain_control: bool,
}

/// What tells speech from other sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Detector {
    /// WebRTC's, which is the cheapest.
    #[default]
    Webrtc,
    /// A small network.
    Earshot,
    /// A larger one, of which the gateway needs a file.
    Silero,
}

/// How much of a steady noise is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NoiseSuppression {
    /// Nothing.
    #[default]
    Off,
    /// 6 dB.
    Low,
    /// 12 dB.
    Moderate,
    /// 18 dB.
    High,
}

impl Default for ModelSpec {
    fn default() -> Self {
        Self {
            profile: None,
            voice: None,
            greeting: None,
            turn_detection: TurnDetection::Profile,
            barge_in: BargeIn::default(),
            trim_silence: true,
            hearing: Hearing::default(),
        }
    }
}

impl ModelSpec {
    /// How this agent hears others, and is heard.
    #[must_use]
    pub const fn listening(&self) -> Listening {
        Listening {
            barge_in: self.barge_in,
            trim_silence: self.trim_silence,
            hearing: self.hearing,
        }
    }
}

impl TurnDetection {
    /// How long nobody speaks before a turn is over, where this gateway says so and nobody has
    /// said how long.
    pub const SILENCE: Duration = Duration::from_millis(500);

    /// How long nobody speaks before a turn is over, where this gateway says so.
    #[must_use]
    pub const fn silence(&self) -> Duration {
        match self {
            Self::Gateway { silence } => *silence,
            Self::Profile | Self::Model { .. } => Self::SILENCE,
        }
    }
}

impl Default for BargeIn {
    fn default() -> Self {
        Self { enabled: true, min_speech: Duration::from_millis(160), echo_guard: true }
    }
}

impl Default for Listening {
    fn default() -> Self {
        ModelSpec::default().listening()
    }
}

/// A tool that clients run for the model.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// The name by which the model calls it.
    pub name: String,
    /// What it is for, in plain words.
    pub description: String,
    /// A JSON Schema object, as text.
    pub parameters_json: String,
    /// How long clients may take before the call has failed.
    pub timeout: Duration,
    /// What the agent says while it waits for the result, if that takes longer than a moment.
    pub filler: Option<String>,
}

/// An agent as it is kept: its spec, and what only its owner and the REST API need.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    /// Its name among agents.
    pub id: AgentId,
    /// Whose it is.
    pub owner: UserId,
    /// `metadata` as the owner gave it, as JSON text.
    pub metadata_json: String,
    /// The end user it serves; at most one live agent per owner and user.
    pub user_id: Option<String>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When its time to live is over, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
    /// What the conversation needs of it.
    pub spec: AgentSpec,
}
