//! A session with Janus: one task that owns the WebSocket, keeps the session alive, and claims it
//! again over another WebSocket when the first is lost.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message as Frame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::JanusAddress;
use super::wire::{Bridge, Envelope, Message, Refusal, Request, Word};
use crate::agent::RoomFailure;
use crate::sys::tasks::{self, Task};
use crate::sys::{clock, tls};

/// Our end of a session. Dropping it cuts the connection without a word.
#[derive(Debug)]
pub(super) struct Session {
    asks: mpsc::Sender<Ask>,
    news: mpsc::Receiver<News>,
    _task: Task,
}

/// What a session reports.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    /// Janus says something that answers nothing.
    Said(Message),
    /// The connection was lost, and the session is ours again; what was said meanwhile is lost.
    Reclaimed,
    /// Janus knows the session no more. Nothing follows.
    Forgotten,
    /// Janus cannot be reached. Nothing follows.
    Unreachable(String),
}

/// Why something that was asked has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum AskError {
    #[error("{}", .0.reason)]
    Refused(Refusal),
    #[error("the connection was lost")]
    Cut,
}

impl Session {
    /// Connects, and has a session made.
    pub(super) async fn open(address: &JanusAddress) -> Result<Self, RoomFailure> {
        let socket = connect(address).await?;
        let (news_to, news) = mpsc::channel(NEWS_CAPACITY);
        let (asks, asked) = mpsc::channel(ASKS_CAPACITY);
        let mut line = Line {
            address: address.clone(),
            socket,
            id: None,
            count: 0,
            waiting: VecDeque::new(),
            news: news_to,
        };
        let created = timeout(TRANSACTION, line.ask_alone(Request::create())).await;
        let created = created.unwrap_or(Err(AskError::Cut));
        let no_janus = || RoomFailure::Unreachable("that is no Janus".to_owned());
        line.id = Some(created.map_err(AskError::failure)?.made().ok_or_else(no_janus)?);
        let task = tasks::spawn("janus session", line.run(asked));
        Ok(Self { asks, news, _task: task })
    }

    /// Asks something, and waits for the whole of the answer.
    pub(super) async fn ask(&self, request: Request) -> Result<Message, AskError> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask { request, reply }).await.map_err(|_| AskError::Cut)?;
        answer.await.unwrap_or(Err(AskError::Cut))
    }

    /// The next report; may be dropped and asked again at any time.
    pub(super) async fn next(&mut self) -> News {
        self.news.recv().await.unwrap_or(News::Forgotten)
    }
}

impl AskError {
    /// What it means for whoever wants to be in a room. Codes 403 and the like are Janus's own
    /// (`apierror.h`), those from 480 on are the AudioBridge's (`janus_audiobridge.c`).
    pub(super) fn failure(self) -> RoomFailure {
        let Refusal { code, reason } = match self {
            Self::Refused(refusal) => refusal,
            Self::Cut => return RoomFailure::Unreachable(self.to_string()),
        };
        match code {
            NO_SUCH_ROOM => RoomFailure::NotFound,
            FORBIDDEN | MISSING_ELEMENT | UNAUTHORIZED => RoomFailure::Unauthorized,
            NO_SUCH_PLUGIN => RoomFailure::Unsupported("Janus without an AudioBridge".to_owned()),
            INVALID_SDP | BAD_SDP => RoomFailure::Media(reason),
            _ => RoomFailure::Unreachable(format!("Janus refuses: {reason} ({code})")),
        }
    }

    /// Whether the room's name was given in a form that this server does not use.
    pub(super) const fn is_misspelt(&self) -> bool {
        matches!(self, Self::Refused(Refusal { code: INVALID_ELEMENT, .. }))
    }

    /// Whether the room to be made is there already.
    pub(super) const fn is_made(&self) -> bool {
        matches!(self, Self::Refused(Refusal { code: ROOM_EXISTS, .. }))
    }
}

/// Something asked, and who waits for the answer.
#[derive(Debug)]
struct Ask {
    request: Request,
    reply: oneshot::Sender<Result<Message, AskError>>,
}

/// A request on its way.
#[derive(Debug)]
struct Waiting {
    transaction: u64,
    is_acknowledged: bool,
    until: Instant,
    /// Nobody, where only Janus's being alive is of interest.
    reply: Option<oneshot::Sender<Result<Message, AskError>>>,
}

/// The session as its task has it.
struct Line {
    address: JanusAddress,
    socket: Socket,
    /// None until it is made.
    id: Option<u64>,
    count: u64,
    /// In the order of asking, which is that of their deadlines.
    waiting: VecDeque<Waiting>,
    news: mpsc::Sender<News>,
}

/// Why a connection is of no use any more.
enum End {
    /// Nobody wants it.
    Unwanted,
    /// It is lost.
    Cut(String),
    /// The session is over.
    Forgotten,
}

impl Line {
    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        let last = loop {
            let reason = match self.talk(&mut asked).await {
                End::Unwanted => return self.hang_up().await,
                End::Forgotten => break News::Forgotten,
                End::Cut(reason) => reason,
            };
            tracing::info!(reason, "the connection to Janus is lost");
            self.waiting.clear();
            match timeout(RECLAIM, self.reclaim()).await {
                Ok(Ok(())) => {}
                Ok(Err(refused)) => {
                    tracing::info!(%refused, "Janus has given the session up");
                    break News::Forgotten;
                }
                Err(_) => break News::Unreachable(reason),
            }
            if self.news.try_send(News::Reclaimed).is_err() {
                return;
            }
        };
        // Whoever does not take the last word sees that there is no session.
        let _ = self.news.try_send(last);
    }

    /// Asks and answers until the connection is of no use.
    async fn talk(&mut self, asked: &mut mpsc::Receiver<Ask>) -> End {
        let mut alive_until = after(KEEP_ALIVE);
        loop {
            let limit = self.waiting.front().map_or(alive_until, |first| first.until);
            let ended = tokio::select! {
                ask = asked.recv() => match ask {
                    Some(Ask { request, reply }) => self.send(request, Some(reply)).await,
                    None => return End::Unwanted,
                },
                frame = self.socket.next() => self.take(frame),
                () = sleep_until(alive_until) => {
                    alive_until = after(KEEP_ALIVE);
                    self.send(Request::keep_alive(), None).await
                }
                () = sleep_until(limit), if limit < alive_until => {
                    Err(End::Cut("Janus does not answer".to_owned()))
                }
            };
            if let Err(end) = ended {
                return end;
            }
        }
    }

    async fn send(
        &mut self,
        request: Request,
        reply: Option<oneshot::Sender<Result<Message, AskError>>>,
    ) -> Result<(), End> {
        self.count += 1;
        let (transaction, is_acknowledged) = (self.count, request.is_acknowledged);
        let until = after(TRANSACTION);
        self.waiting.push_back(Waiting { transaction, is_acknowledged, until, reply });
        let text = request.encode(&Envelope {
            transaction,
            session: self.id,
            api_secret: self.address.api_secret.as_ref(),
            token: self.address.server_token.as_ref(),
        });
        match timeout_at(until, self.socket.send(Frame::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Cut(error.to_string())),
            Err(_) => Err(End::Cut("Janus takes nothing".to_owned())),
        }
    }

    /// Gives what has come to whoever waits for it.
    fn take(&mut self, frame: Option<Result<Frame, SocketError>>) -> Result<(), End> {
        let text = match frame {
            Some(Ok(Frame::Text(text))) => text,
            Some(Ok(Frame::Close(_))) | None => return Err(End::Cut("Janus has closed it".into())),
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => return Err(End::Cut(error.to_string())),
        };
        let Some(message) = Message::read(&text) else {
            tracing::debug!("Janus says what cannot be read");
            return Ok(());
        };
        let waits = |waiting: &Waiting| Some(waiting.transaction) == message.transaction;
        let Some(at) = self.waiting.iter().position(waits) else {
            return match message.word {
                Word::TimedOut => Err(End::Forgotten),
                // Whoever had asked for it has stopped to wait.
                Word::Ack | Word::Success(_) | Word::Refused(_) | Word::Other => Ok(()),
                Word::Bridge(..) | Word::Candidate(_) | Word::HungUp(_) => {
                    self.news.try_send(News::Said(message)).map_err(|_| End::Unwanted)
                }
            };
        };
        if message.word == Word::Ack && !self.waiting[at].is_acknowledged {
            return Ok(());
        }
        let Some(reply) = self.waiting.remove(at).and_then(|waiting| waiting.reply) else {
            let is_forgotten = is_refused(&message, NO_SUCH_SESSION);
            return if is_forgotten { Err(End::Forgotten) } else { Ok(()) };
        };
        // Who asked may have stopped to wait.
        let _ = reply.send(answer(message));
        Ok(())
    }

    /// Connects anew and makes the session ours again. Fails if Janus has given it up; tries for
    /// as long as it may.
    async fn reclaim(&mut self) -> Result<(), AskError> {
        let mut pause = Backoff::default();
        loop {
            pause.wait().await;
            match connect(&self.address).await {
                Ok(socket) => self.socket = socket,
                Err(failure) => {
                    tracing::debug!(%failure, "Janus cannot be reached");
                    continue;
                }
            }
            match timeout(TRANSACTION, self.ask_alone(Request::claim())).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(refused @ AskError::Refused(_))) => return Err(refused),
                Ok(Err(AskError::Cut)) | Err(_) => {}
            }
        }
    }

    /// Asks while nothing else is going on.
    async fn ask_alone(&mut self, request: Request) -> Result<Message, AskError> {
        let (reply, mut answer) = oneshot::channel();
        self.waiting.clear();
        self.send(request, Some(reply)).await.map_err(|_| AskError::Cut)?;
        loop {
            let frame = self.socket.next().await;
            self.take(frame).map_err(|_| AskError::Cut)?;
            if let Ok(answer) = answer.try_recv() {
                return answer;
            }
        }
    }

    async fn hang_up(mut self) {
        if !matches!(timeout(GOODBYE, self.socket.close(None)).await, Ok(Ok(()))) {
            tracing::debug!("Janus did not take a close frame");
        }
    }
}

fn answer(message: Message) -> Result<Message, AskError> {
    if let Word::Refused(refusal) | Word::Bridge(Bridge::Refused(refusal), _) = message.word {
        return Err(AskError::Refused(refusal));
    }
    Ok(message)
}

fn is_refused(message: &Message, code: u64) -> bool {
    matches!(&message.word, Word::Refused(refusal) if refusal.code == code)
}

/// Pauses that grow: 0.25 s, then twice as long each time, up to 4 s.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(PAUSE_MIN)
    }
}

impl Backoff {
    pub(super) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = PAUSE_MAX.min(self.0 * 2);
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket; the failure names no secret.
async fn connect(address: &JanusAddress) -> Result<Socket, RoomFailure> {
    tls::choose_cryptography();
    let unreachable = |reason: String| RoomFailure::Unreachable(format!("Janus: {reason}"));
    let request = address.server.as_str().into_client_request();
    let mut request = request.map_err(|error| unreachable(error.to_string()))?;
    let protocol = HeaderValue::from_static("janus-protocol");
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .read_buffer_size(READ_BUFFER_BYTES);
    let connecting = connect_async_with_config(request, Some(config), true);
    match timeout(CONNECT, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(SocketError::Http(response))) => match response.status().as_u16() {
            401 | 403 => Err(RoomFailure::Unauthorized),
            status => Err(unreachable(format!("the server answered {status}"))),
        },
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable(format!("no connection within {} s", CONNECT.as_secs()))),
    }
}

fn after(time: Duration) -> Instant {
    Instant::from_std(clock::now() + time)
}

/// Things asked that may wait for the task: one at a time is asked.
///
/// When full: who asks waits.
const ASKS_CAPACITY: usize = 4;

/// What Janus says that may wait for the visit, which reads whenever it is not asking.
///
/// When full: the session is given up, and the room is joined anew.
const NEWS_CAPACITY: usize = 256;

/// How often Janus hears of us; it gives up sessions after 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take; one that takes longer means that the connection is dead.
const TRANSACTION: Duration = Duration::from_secs(5);

/// For how long a lost session is tried for.
const RECLAIM: Duration = Duration::from_secs(20);

/// How long a close frame may take.
const GOODBYE: Duration = Duration::from_secs(1);

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// A hundred times what a list of a large room takes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// An answer with its SDP takes 2 kB.
const READ_BUFFER_BYTES: usize = 4 * 1024;

// Janus's own codes.
const FORBIDDEN: u64 = 403;
const NO_SUCH_SESSION: u64 = 458;
const NO_SUCH_PLUGIN: u64 = 460;
const BAD_SDP: u64 = 465;

// Those of the AudioBridge.
/// The pin is the one element that we leave out if we do not know it.
const MISSING_ELEMENT: u64 = 483;
const INVALID_ELEMENT: u64 = 484;
const NO_SUCH_ROOM: u64 = 485;
const ROOM_EXISTS: u64 = 486;
const UNAUTHORIZED: u64 = 489;
const INVALID_SDP: u64 = 493;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_reason() {
        let failure =
            |code| AskError::Refused(Refusal { code, reason: "no".to_owned() }).failure().code();
        for (code, expected) in [
            (485, "ROOM_NOT_FOUND"),
            (489, "ROOM_UNAUTHORIZED"),
            (483, "ROOM_UNAUTHORIZED"),
            (403, "ROOM_UNAUTHORIZED"),
            (460, "UNSUPPORTED_ROOM"),
            (493, "MEDIA_FAILED"),
            (458, "ROOM_UNREACHABLE"),
            (491, "ROOM_UNREACHABLE"),
        ] {
            assert_eq!(failure(code), expected, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_up_to_a_limit() {
        let (mut pause, mut waited) = (Backoff::default(), Vec::new());
        for _ in 0..6 {
            let before = clock::now();
            pause.wait().await;
            waited.push((clock::now() - before).as_millis());
        }
        assert_eq!(waited, [250, 500, 1000, 2000, 4000, 4000]);
    }
}
