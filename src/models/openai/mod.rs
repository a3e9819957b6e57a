//! The `OpenAI` Realtime API (GA) over a WebSocket, and every server that speaks the same.

mod answers;
mod chronicle;
mod connect;
mod conversation;
#[cfg(test)]
mod dialect_tests;
mod dialogue;
mod ear;
mod errors;
mod heartbeat;
mod links;
mod ports;
mod recent;
mod retry;
mod sequencer;
mod session;
mod setup;
mod socket;
mod tape;
mod tools;
mod transcripts;
mod voice;

use tokio::sync::mpsc;

pub use self::conversation::Conversation;
pub use self::ports::{ConnectError, LinkId, Output, WallClock};
use self::session::Ports;
use super::{
    ACTIONS_CAPACITY, AUDIO_CAPACITY, AudioQueue, ITEMS_CAPACITY, ModelLink, ModelProfile,
};
use crate::agent::{AgentSpec, Medium};
use crate::meter::Meter;
use crate::sys::tasks;

/// Begins to open a session, and returns at once.
pub(super) fn open(
    profile: &ModelProfile,
    spec: AgentSpec,
    medium: Medium,
    meter: &Meter,
) -> ModelLink {
    let (audio, audio_port) = match medium {
        Medium::Voice => Some(mpsc::channel(AUDIO_CAPACITY)).unzip(),
        Medium::Text => (None, None),
    };
    let audio = AudioQueue(audio);
    let (actions, actions_port) = mpsc::channel(ACTIONS_CAPACITY);
    let (items_port, items) = mpsc::channel(ITEMS_CAPACITY);
    let meter = meter.clone();
    let ports = Ports { audio: audio_port, actions: actions_port, items: items_port, meter };
    let task = tasks::spawn("model session", session::run(profile.clone(), spec, medium, ports));
    ModelLink { audio, actions, items, task }
}
