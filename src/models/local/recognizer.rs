//! The one recogniser of a server: a task that lends the model to one request at a time.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::moonshine::{DecodeError, Moonshine, RATE};
use crate::sys::{clock, tasks};

/// Requests that may wait for the recogniser.
///
/// When full: the request is refused, and the utterance is told as not understood.
const REQUESTS_CAPACITY: usize = 16;

/// How long words may take, waiting included; people have hung up by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// What sessions hold of the recogniser. It stops when the last one is gone.
#[derive(Clone, Debug)]
pub(super) struct Recognizer(mpsc::Sender<Request>);

/// Why an utterance was not understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum HearError {
    /// Too many are waiting already.
    #[error("the recogniser is busy")]
    Busy,
    /// It has stopped, or lost its model.
    #[error("the recogniser is gone")]
    Gone,
    /// The model gave no words.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

#[derive(Debug)]
struct Request {
    sound: Vec<i16>,
    by: Instant,
    words: oneshot::Sender<Result<String, DecodeError>>,
}

impl Recognizer {
    /// Starts the task that owns the model.
    pub(super) fn start(model: Moonshine) -> (Self, tasks::Task) {
        let (requests, queue) = mpsc::channel(REQUESTS_CAPACITY);
        (Self(requests), tasks::spawn("recogniser", serve(model, queue)))
    }

    /// The words in `sound`, which is at 16 kHz. The future must be awaited: dropping it gives
    /// the request up.
    pub(super) async fn words(self, sound: Vec<i16>) -> Result<String, HearError> {
        let (words, answer) = oneshot::channel();
        let request = Request { sound, by: clock::now() + PATIENCE, words };
        self.0.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => HearError::Busy,
            mpsc::error::TrySendError::Closed(_) => HearError::Gone,
        })?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(words)) => Ok(words?),
            Ok(Err(_)) => Err(HearError::Gone),
            Err(_) => Err(DecodeError::TooLong.into()),
        }
    }

    /// One that is gone before anybody asks it.
    #[cfg(test)]
    pub(super) fn deaf() -> Self {
        Self(mpsc::channel(REQUESTS_CAPACITY).0)
    }

    /// Whether nothing waits, so that a guess at unfinished speech costs nobody anything.
    pub(super) fn is_idle(&self) -> bool {
        self.0.capacity() == REQUESTS_CAPACITY
    }
}

async fn serve(mut model: Moonshine, mut queue: mpsc::Receiver<Request>) {
    while let Some(Request { sound, by, words }) = queue.recv().await {
        if words.is_closed() || by < clock::now() {
            continue;
        }
        let work = tasks::spawn_blocking(move || {
            let text = model.words(&to_floats(&sound), by);
            (model, text)
        });
        match work.await {
            Ok((back, text)) => {
                model = back;
                // Whoever asked may have hung up in the meantime.
                let _ = words.send(text);
            }
            Err(error) => {
                tracing::error!(%error, "the recogniser broke, and its model with it");
                return;
            }
        }
    }
}

/// As the model wants it: -1 to 1, and with silence in front, without which it invents a word or
/// eats the first one.
fn to_floats(sound: &[i16]) -> Vec<f32> {
    let mut floats = vec![0.0; RATE / 5];
    floats.extend(sound.iter().map(|sample| f32::from(*sample) / 32_768.0));
    floats
}
