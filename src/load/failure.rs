//! How one call may fail, and whose fault it is.

use thiserror::Error;

use super::leg::LegError;

/// Why a call was not held, or not to its end.
#[derive(Debug, Error)]
pub(super) enum CallFailure {
    /// The gateway has as many calls as it can serve, and says so: that is no fault.
    #[error("refused: the gateway is at its capacity")]
    Refused,
    /// A request could not be sent.
    #[error("{what}: {source}")]
    Http {
        /// What was asked.
        what: &'static str,
        /// Why it was not.
        source: reqwest::Error,
    },
    /// The gateway says no.
    #[error("{what}: {said}")]
    Said {
        /// What was asked.
        what: &'static str,
        /// The answer, in short.
        said: String,
    },
    /// The agent's socket.
    #[error("the agent's socket: {0}")]
    Socket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// Something was waited for in vain.
    #[error("{0} did not happen in time")]
    Late(&'static str),
    /// The caller's own side.
    #[error(transparent)]
    Leg(#[from] LegError),
}

impl CallFailure {
    /// Whether it is a refusal by admission.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused)
    }

    /// What a response with this status and body says.
    pub(super) fn of_response(what: &'static str, status: u16, body: &str) -> Self {
        if status == 503 {
            return Self::Refused;
        }
        let body: String = body.chars().take(SAID_MAX).collect();
        Self::Said { what, said: format!("{status} {body}") }
    }
}

/// So many characters of an answer are enough to know what it is about.
const SAID_MAX: usize = 200;
