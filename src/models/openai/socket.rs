//! One socket of a conversation: a task that opens it, reads and writes.
//!
//! Reading and writing do not wait for each other, so that a server which has stopped reading
//! cannot keep us from noticing that it has.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::connect::{Socket, connect};
use super::ports::{ConnectError, LinkId};
use crate::agent::Medium;
use crate::models::ModelProfile;
use crate::sys::tasks::{self, Task};

/// A socket, from the attempt to open it to its end. Dropping it cuts the connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) link: LinkId,
    outbox: mpsc::Sender<Message>,
    task: Task,
}

/// What has become of a socket.
#[derive(Debug)]
pub(super) enum News {
    /// It stands.
    Connected,
    /// It could not be had.
    Refused(ConnectError),
    /// The server says something.
    Text(Utf8Bytes),
    /// The server gives no more than a sign of life.
    Alive,
    /// It is gone.
    Closed {
        /// From the server's close frame.
        code: Option<u16>,
        /// For people.
        reason: String,
    },
}

/// News of all sockets of a conversation.
pub(super) type NewsPort = mpsc::Sender<(LinkId, News)>;

impl Line {
    /// Begins to open a socket.
    pub(super) fn open(
        link: LinkId,
        profile: &ModelProfile,
        medium: Medium,
        news: NewsPort,
    ) -> Self {
        let (outbox, waiting) = mpsc::channel(OUTBOX_CAPACITY);
        let profile = profile.clone();
        let port = Port { link, news };
        let task = tasks::spawn("model socket", async move {
            run(&profile, medium, &port, waiting).await;
        });
        Self { link, outbox, task }
    }

    /// Has a message sent. False if too many wait already: the server takes nothing.
    pub(super) fn send(&self, message: Message) -> bool {
        // One that is gone says so by its news.
        !matches!(self.outbox.try_send(message), Err(TrySendError::Full(_)))
    }

    /// Begins to say goodbye, after what still waits. The task is over when that is done.
    pub(super) fn hang_up(self) -> Task {
        self.task
    }
}

/// Where news of one socket goes.
struct Port {
    link: LinkId,
    news: NewsPort,
}

impl Port {
    /// False if nobody wants any.
    async fn tell(&self, news: News) -> bool {
        self.news.send((self.link, news)).await.is_ok()
    }
}

async fn run(
    profile: &ModelProfile,
    medium: Medium,
    port: &Port,
    mut waiting: mpsc::Receiver<Message>,
) {
    let opened = tokio::select! {
        opened = connect(profile, medium) => opened,
        () = given_up(&mut waiting) => return,
    };
    let socket = match opened {
        Ok(socket) => socket,
        Err(error) => {
            port.tell(News::Refused(error)).await;
            return;
        }
    };
    if !port.tell(News::Connected).await {
        return;
    }
    let (sink, stream) = socket.split();
    let end = tokio::select! {
        end = read(stream, port) => end,
        end = write(sink, &mut waiting) => end,
    };
    if let Some(end) = end {
        port.tell(end).await;
    }
}

/// Nothing is sent before there is a socket: what ends the wait is that nobody wants one.
async fn given_up(waiting: &mut mpsc::Receiver<Message>) {
    while waiting.recv().await.is_some() {}
}

/// Reads as fast as its news are taken; TCP pushes back.
async fn read(mut stream: SplitStream<Socket>, port: &Port) -> Option<News> {
    loop {
        let news = received(stream.next().await);
        if matches!(news, News::Closed { .. }) {
            return Some(news);
        }
        if !port.tell(news).await {
            // Nobody listens any more; the goodbye is the writer's.
            std::future::pending::<()>().await;
        }
    }
}

/// Writes what is wanted, and closes the socket when no more will be.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    waiting: &mut mpsc::Receiver<Message>,
) -> Option<News> {
    while let Some(message) = waiting.recv().await {
        let reason = match timeout(SEND_LIMIT, sink.send(message)).await {
            Ok(Ok(())) => continue,
            // That it is closed is the reader's to tell, who knows why.
            Ok(Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_))) => {
                return std::future::pending().await;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it takes nothing for {} s", SEND_LIMIT.as_secs()),
        };
        return Some(News::Closed { code: None, reason });
    }
    if !matches!(timeout(CLOSE_LIMIT, sink.close()).await, Ok(Ok(()))) {
        tracing::debug!("a model's socket did not take a close frame");
    }
    None
}

/// What a socket gives, as news.
fn received(message: Option<Result<Message, Error>>) -> News {
    let closed = |reason: String| News::Closed { code: None, reason };
    match message {
        Some(Ok(Message::Text(text))) => News::Text(text),
        Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
            News::Alive
        }
        Some(Ok(Message::Close(Some(frame)))) => {
            let code = u16::from(frame.code);
            let reason = format!("closed with {code}: {}", frame.reason);
            News::Closed { code: Some(code), reason }
        }
        Some(Ok(Message::Close(None))) => closed("closed without a reason".to_owned()),
        Some(Err(error)) => closed(error.to_string()),
        None => closed("the connection is gone".to_owned()),
    }
}

/// The message that asks for a sign of life.
pub(super) const fn ping() -> Message {
    Message::Ping(Bytes::new())
}

/// Messages that may wait for one socket: the conversation so far, and 20 s of sound.
///
/// When full: the server has stopped reading, and the link counts as lost.
const OUTBOX_CAPACITY: usize = 2_048;

/// How long a server may take nothing from its socket before it counts as lost.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// How long a close frame may take: it is a courtesy.
pub(super) const CLOSE_LIMIT: Duration = Duration::from_secs(1);
