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
}

/// The model behind an agent. `None` leaves a choice to the profile.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ModelSpec {
    /// The name of a configured profile.
    pub profile: Option<String>,
    /// The voice, in the words of the profile.
    pub voice: Option<String>,
    /// What the agent says first when it has joined a call.
    pub greeting: Option<String>,
    /// Turn detection, as the JSON the model takes (`session.audio.input.turn_detection`).
    pub turn_detection_json: Option<String>,
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
