//! What a conversation asks of its surroundings: sockets, sound, time; and what it tells them.

use std::fmt;
use std::time::{Duration, Instant};

use crate::agent::ModelFailure;
use crate::models::ModelItem;

/// One socket and the session on it, of those that a conversation opens one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// The same moment on both clocks: what a server says about the time of day is measured by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// On the clock that every input is stamped with.
    pub now: Instant,
    /// In milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

impl WallClock {
    /// When it is so many seconds since the Unix epoch, unless that is past.
    pub(super) fn instant_of(&self, unix_seconds: u64) -> Option<Instant> {
        let ahead = unix_seconds.checked_mul(1_000)?.checked_sub(self.unix_ms)?;
        self.now.checked_add(Duration::from_millis(ahead))
    }
}

/// To be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Open a socket; answered by `on_connected` or `on_refused`.
    Connect(LinkId),
    /// Send an event.
    Send {
        /// To whom.
        link: LinkId,
        /// The event, as a text frame.
        text: String,
    },
    /// Send sound, as `input_audio_buffer.append`.
    SendFrame {
        /// To whom.
        link: LinkId,
        /// 20 ms of it: what [`Conversation::frame`](super::Conversation::frame) has under this
        /// number.
        frame: u64,
    },
    /// Ask for a sign of life; answered by `on_alive`.
    Ping(LinkId),
    /// Close the socket, or give up opening it. Nothing that it says is of interest any more.
    Close(LinkId),
    /// Give this to the agent.
    Item(ModelItem),
    /// All is over: as the agent wished, or because there is no session to be had. Nothing follows.
    Ended(Result<(), ModelFailure>),
}

/// Why a socket could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The server has answered, and does not want us.
    #[error("{place}: refused with HTTP {status}")]
    Refused {
        /// Where it is.
        place: String,
        /// The HTTP status in place of 101.
        status: u16,
        /// How long it wants to be left alone (`Retry-After`, in seconds).
        retry_after: Option<Duration>,
    },
    /// Nobody has answered as a server does.
    #[error("{0}")]
    Unreachable(String),
    /// It cannot even be tried: the URL or the key is none.
    #[error("{0}")]
    Invalid(String),
}

impl ConnectError {
    /// Whether another attempt may do better.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Unreachable(_) => true,
            Self::Invalid(_) => false,
        }
    }

    pub(super) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unreachable(_) | Self::Invalid(_) => None,
        }
    }
}
