//! A mind without a key: our own server of the `OpenAI` Realtime protocol.
//!
//! It listens with Moonshine, answers by rules, and speaks with flite. The gateway reaches it
//! as it reaches any other server, over a WebSocket.

mod answer;
mod answering;
mod conversation;
mod dialogue;
mod ear;
mod endpoint;
mod listening;
mod moonshine;
mod outbox;
mod recognizer;
mod reply;
mod seats;
mod server;
mod session;
mod settings;
mod tokens;
mod voice;
mod wire;
mod writing;

use std::fmt;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;

pub use voice::VoiceError;

use crate::sys::tasks::{self, Task};

/// How many sessions of one server may hear or speak at once, unless told otherwise: they share
/// one recogniser.
pub const VOICE_SESSIONS_MAX: usize = 64;

/// How many more may read and write, unless told otherwise: they cost a socket and a little memory.
pub const TEXT_SESSIONS_MAX: usize = 4096;

/// What the local model needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalModelConfig {
    /// The folder with the speech model's files, as `make deps` fills it.
    pub dir: PathBuf,
    /// The voice it speaks with: `rms`, `slt`, `awb` or `kal16`.
    pub voice: String,
    /// How many sessions may hear or speak at once; over it a session that wants to is refused
    /// what it asks for, with `session_limit_reached`.
    pub voice_sessions_max: usize,
    /// How many more may be open; over both together the upgrade is refused with 503.
    pub text_sessions_max: usize,
}

impl Default for LocalModelConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            voice: "rms".to_owned(),
            voice_sessions_max: VOICE_SESSIONS_MAX,
            text_sessions_max: TEXT_SESSIONS_MAX,
        }
    }
}

/// Why the local model cannot be had. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is not there.
    #[error("the speech model's file {} is missing: run `make deps`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file is there, and is not what it should be.
    #[error(
        "the speech model's file {} is damaged ({reason}): remove its folder and run `make deps`",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What its reader said.
        reason: String,
    },
    /// There are ears, and no voice.
    #[error(transparent)]
    Voice(#[from] VoiceError),
}

impl LoadError {
    fn damaged(path: &Path, reason: impl fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// A mind, loaded and ready to serve.
#[derive(Debug)]
pub struct LocalModel {
    moonshine: moonshine::Moonshine,
    voice: voice::Voice,
    seats: seats::Seats,
    sessions_max: usize,
}

impl LocalModel {
    /// Loads the speech model and looks for the voice. Blocks for about half a second.
    pub fn load(config: LocalModelConfig) -> Result<Self, LoadError> {
        let LocalModelConfig { dir, voice, voice_sessions_max, text_sessions_max } = config;
        let voice = voice::Voice::named(&voice).ok_or(VoiceError::UnknownVoice(voice))?;
        voice::Voice::check()?;
        let moonshine = moonshine::Moonshine::load(&dir)?;
        let seats = seats::Seats::new(voice_sessions_max);
        let sessions_max = voice_sessions_max.saturating_add(text_sessions_max);
        Ok(Self { moonshine, voice, seats, sessions_max })
    }

    /// Serves sessions at `/v1/realtime?model=…` until the task is dropped; they end with it.
    pub fn serve(self, listener: TcpListener) -> Task {
        tasks::spawn("local model", server::run(self, listener))
    }
}
