//! Adapters to minds: speech models behind one link. They know neither rooms nor agents' lives.

pub mod dialect;
pub mod local;
mod openai;
#[cfg(any(test, feature = "test-util"))]
pub mod scripted;
pub mod wire;

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};

use crate::agent::{AgentSpec, Medium, ModelAction, ModelEvent};
use crate::ids::UtteranceId;
use crate::media::{Frame24k, TimedFrame};
use crate::meter::Meter;
use crate::privacy::Secret;
use crate::sys::tasks::Task;
use dialect::Dialect;

/// A session without its sockets, for whoever holds one in a time of its own.
pub mod conversation {
    pub use super::openai::{ConnectError, Conversation, LinkId, Output, WallClock};
}

/// Opens a session for an agent, and returns at once.
///
/// The first item is `Ready` or `Failed`. Frames and actions sent before wait in their queues. A
/// session in text hears nothing and says nothing: its answers are words alone. One that hears
/// outlives its sockets; see [`conversation::Conversation`]. How long frames take on their way out
/// is counted by `meter`.
#[must_use]
pub fn open(profile: &ModelProfile, spec: AgentSpec, medium: Medium, meter: &Meter) -> ModelLink {
    openai::open(profile, spec, medium, meter)
}

/// A configured model: where it is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelProfile {
    /// By which agents choose it.
    pub name: String,
    /// Where it is: `ws://` or `wss://`, without the model.
    pub url: String,
    /// The model, put into the URL's query unless that names one; may be empty.
    pub model: String,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// What the server wants to see, where its dialect has it.
    pub key: Option<Secret>,
    /// The voice of agents that choose none.
    pub voice: Option<String>,
    /// The model that transcribes what is said to the agent; `None` leaves it to the server.
    pub transcription: Option<String>,
    /// The turn detection of agents that choose none, as JSON; `None` means the server's VAD.
    pub turn_detection_json: Option<String>,
    /// `near_field` or `far_field`; `None` leaves it to the server.
    pub noise_reduction: Option<String>,
    /// Whether it is shown images; those for one that sees none are dropped.
    pub images: bool,
    /// How long things may take.
    pub deadlines: Deadlines,
}

/// How long things may take before a model counts as unavailable or lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From the start to an open socket, because a call is waiting.
    pub connect: Duration,
    /// From the open socket to `session.updated`, because some servers never send it.
    pub configure: Duration,
    /// Between a server's last message and our ping. What is said until the answer comes is kept
    /// for another server.
    pub ping_every: Duration,
    /// From a ping to any message at all, because TCP notices a dead path late.
    pub ping_limit: Duration,
    /// How long a session may last where the server does not say; before that, another takes over.
    pub session_cap: Duration,
}

impl ModelProfile {
    /// A server without key, model or opinions of its own.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            model: String::new(),
            dialect: Dialect::OPENAI,
            key: None,
            voice: None,
            transcription: None,
            turn_detection_json: None,
            noise_reduction: None,
            images: true,
            deadlines: Deadlines::default(),
        }
    }

    /// The same server in this dialect.
    #[must_use]
    pub fn speaking(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self.deadlines.session_cap = dialect.session_cap;
        self
    }

    /// The vendor's own server.
    #[must_use]
    pub fn openai(key: Secret) -> Self {
        Self {
            model: "gpt-realtime-2.1".to_owned(),
            key: Some(key),
            voice: Some("marin".to_owned()),
            transcription: Some("gpt-transcribe".to_owned()),
            ..Self::new("openai", "wss://api.openai.com/v1/realtime")
        }
    }

    /// Our own server on this machine, at its `ws://127.0.0.1:PORT/…`.
    pub fn local(url: impl Into<String>) -> Self {
        Self {
            model: "local".to_owned(),
            transcription: Some("moonshine".to_owned()),
            images: false,
            ..Self::new("local", url)
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            configure: Duration::from_secs(10),
            ping_every: Duration::from_secs(2),
            ping_limit: Duration::from_secs(10),
            session_cap: Duration::from_secs(60 * 60),
        }
    }
}

/// Frames to the model that may wait: a second, for a network that has stalled gives all at once.
///
/// When full: the frame is dropped and counted; two seconds of it fail the model as stalled.
pub const AUDIO_CAPACITY: usize = 50;

/// Actions to the model that may wait.
///
/// When full: the link has failed; control is never dropped.
pub const ACTIONS_CAPACITY: usize = 32;

/// What the model sends that may wait for the agent.
///
/// When full: the adapter waits, and TCP pushes back.
pub const ITEMS_CAPACITY: usize = 64;

/// An agent's side of a model session. Dropping it closes the session.
#[derive(Debug)]
pub struct ModelLink {
    /// What the agent hears, 20 ms at a time.
    pub audio: AudioQueue,
    /// What is to be done about the conversation.
    pub actions: mpsc::Sender<ModelAction>,
    /// What the model does, in its order; closed when the session is over.
    pub items: mpsc::Receiver<Arrived>,
    /// The session itself; it ends when this is dropped.
    pub task: Task,
}

/// The queue of what an agent hears. A session in text has none: memory for sound that never
/// comes is what most of its memory would be.
#[derive(Clone, Debug)]
pub struct AudioQueue(Option<mpsc::Sender<HeardFrame>>);

impl AudioQueue {
    /// Puts a frame into the queue if there is room. In text it is closed from the start.
    #[expect(clippy::result_large_err, reason = "the error gives the frame back, as queues do")]
    pub fn try_send(&self, frame: HeardFrame) -> Result<(), TrySendError<HeardFrame>> {
        match &self.0 {
            Some(queue) => queue.try_send(frame),
            None => Err(TrySendError::Closed(frame)),
        }
    }

    /// Puts a frame into the queue, and waits for room. In text it is closed from the start.
    pub async fn send(&self, frame: HeardFrame) -> Result<(), SendError<HeardFrame>> {
        match &self.0 {
            Some(queue) => queue.send(frame).await,
            None => Err(SendError(frame)),
        }
    }
}

/// What the agent hears, and how long it has been on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeardFrame {
    /// 20 ms of it.
    pub frame: Frame24k,
    /// When it came off the network, and when the agent's task let go of it.
    pub on_the_way: OnTheWay,
}

/// Since when a frame is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnTheWay {
    /// When the last of its sound came off the network.
    pub since: Instant,
    /// When the agent's task let go of it.
    pub left_agent: Instant,
}

impl HeardFrame {
    /// A frame that the agent's task lets go at `now`.
    #[must_use]
    pub const fn new(TimedFrame { frame, since }: TimedFrame, now: Instant) -> Self {
        Self { frame, on_the_way: OnTheWay { since, left_agent: now } }
    }
}

/// Something that a model sends, on its way to the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrived {
    /// What it is.
    pub item: ModelItem,
    /// When the event that brought it about came off the socket.
    pub at: Instant,
}

/// Something a model sends: events and sound in one order.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelItem {
    /// For the agent's machine.
    Event(ModelEvent),
    /// Speech of the agent, for the pacer: any number of samples at 24 kHz.
    Audio {
        /// The utterance it belongs to.
        utterance: UtteranceId,
        /// The samples.
        samples: Vec<i16>,
    },
    /// All of an utterance's speech has been sent (which is not: heard).
    AudioDone {
        /// The utterance.
        utterance: UtteranceId,
    },
}
