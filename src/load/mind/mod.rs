//! A Realtime server with known timing: it hears by level, thinks for a fixed time, and says a
//! fixed thing. What it was sent and when is what `load` measures by.

mod dialogue;
mod ear;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::talk::Answer;
use crate::sys::tasks::{self, Task};

/// What an agent's instructions name its call by.
pub(super) use dialogue::CALL_MARK;

/// Sessions that have ended and were not looked at yet.
///
/// When full: whoever ends waits; nothing else hangs on it.
const ENDED_CAPACITY: usize = 256;

/// How the model behaves.
#[derive(Clone, Copy, Debug)]
pub struct MindPlan {
    /// From the end of somebody's turn, or from being asked, to the first sound of the answer.
    pub think: Duration,
    /// How long an answer is.
    pub answer: Duration,
    /// How many seconds of sound are sent each second; 0 sends all at once.
    pub speed: f64,
}

/// A server that runs; dropping it ends all sessions.
#[derive(Debug)]
pub(super) struct Mind {
    at: SocketAddr,
    ended: mpsc::Receiver<SessionLog>,
    _running: Task,
}

/// One session as the server has seen it.
#[derive(Debug, Default)]
pub(super) struct SessionLog {
    /// The call that the session's instructions name.
    pub(super) call: Option<u32>,
    /// What came, in frames of 20 ms.
    pub(super) frames: Vec<FrameSeen>,
    /// What was said.
    pub(super) answers: Vec<Answered>,
}

/// 20 ms of a caller's sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameSeen {
    pub(super) at: Instant,
    pub(super) level: u16,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// When its first sound was sent.
    pub(super) begun: Instant,
    /// How much of it was sent.
    pub(super) sent: Duration,
    /// Where the client says that it was cut.
    pub(super) cut_at: Option<Duration>,
}

impl SessionLog {
    /// This session, and the one after it of the same call.
    pub(super) fn and(mut self, next: Self) -> Self {
        self.frames.extend(next.frames);
        self.answers.extend(next.answers);
        self
    }
}

impl Mind {
    /// Serves from now on.
    pub(super) fn open(
        listener: TcpListener,
        plan: MindPlan,
        answer: Answer,
    ) -> std::io::Result<Self> {
        let at = listener.local_addr()?;
        let (ended_to, ended) = mpsc::channel(ENDED_CAPACITY);
        let running = tasks::spawn("load's model", serve(listener, plan, answer, ended_to));
        Ok(Self { at, ended, _running: running })
    }

    /// Where gateways find it.
    pub(super) fn url(&self) -> String {
        format!("ws://{}/v1/realtime", self.at)
    }

    /// The next session that has ended.
    pub(super) async fn ended(&mut self) -> Option<SessionLog> {
        self.ended.recv().await
    }
}

async fn serve(
    listener: TcpListener,
    plan: MindPlan,
    answer: Answer,
    ended: mpsc::Sender<SessionLog>,
) {
    let answer = Arc::new(answer);
    let mut sessions: FuturesUnordered<Task> = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let session = session::run(stream, plan, answer.clone(), ended.clone());
                    sessions.push(tasks::spawn("load's session", session));
                }
                Err(error) => {
                    tracing::warn!(%error, "a gateway's connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(session) = sessions.next(), if !sessions.is_empty() => {
                if let Err(error) = session {
                    tracing::error!(%error, "a session of the built-in model broke");
                }
            }
        }
    }
}

/// When the system cannot give us a connection, the next attempt waits for so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
