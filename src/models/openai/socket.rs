//! The sockets of a conversation: opened in a task each, and then read and written where the
//! conversation is. So a frame is in the kernel when it has been dealt with, and no other task is
//! woken on its way.
//!
//! Reading and writing do not wait for each other, so that a server which has stopped reading
//! cannot keep us from noticing that it has.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Sink as _, SinkExt as _, Stream as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::connect::{Socket, connect};
use super::ports::{ConnectError, LinkId};
use crate::agent::Medium;
use crate::meter::{Meter, Stage};
use crate::models::{ModelProfile, OnTheWay};
use crate::sys::clock;
use crate::sys::tasks::{self, Task};

/// A socket, from the attempt to open it to its end. Dropping it cuts the connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) link: LinkId,
    state: State,
    meter: Meter,
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

#[derive(Debug)]
enum State {
    Connecting(Task<Result<Socket, ConnectError>>),
    Open(Box<Open>),
    /// Nothing more comes of it.
    Over,
}

/// A socket that stands, and what is to be sent on it.
#[derive(Debug)]
struct Open {
    socket: Socket,
    /// What waits for what is being sent; empty but for bursts, and servers that take nothing.
    outbox: VecDeque<Outgoing>,
    sending: Sending,
}

/// A message, and since when the frame in it is on its way, if one is.
type Outgoing = (Message, Option<OnTheWay>);

/// How far the message is that is being sent.
#[derive(Debug)]
enum Sending {
    /// There is none.
    Nothing,
    /// The socket has it, and has not given all of it to the network.
    Flushing {
        frame: Option<OnTheWay>,
        /// Since when the network takes nothing.
        stuck: Option<Instant>,
    },
    /// It could not be sent, for this reason.
    Broken(String),
    /// It could not be sent, for the socket is closed: the reader knows why.
    Closed,
}

impl Line {
    /// Begins to open a socket.
    pub(super) fn open(link: LinkId, profile: &ModelProfile, medium: Medium, meter: Meter) -> Self {
        let profile = profile.clone();
        let connecting =
            tasks::spawn("model socket", async move { connect(&profile, medium).await });
        Self { link, state: State::Connecting(connecting), meter }
    }

    /// Has a message sent, at once where nothing waits. False if too many wait already: the server
    /// takes nothing. What is for a socket that does not stand is for nobody.
    pub(super) fn send(&mut self, message: Message, frame: Option<OnTheWay>) -> bool {
        let State::Open(open) = &mut self.state else { return true };
        if open.outbox.len() >= OUTBOX_CAPACITY {
            return false;
        }
        open.outbox.push_back((message, frame));
        true
    }

    /// Gives to the network what it takes of what waits.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) {
        if let State::Open(open) = &mut self.state {
            open.poll_send(cx, &self.meter);
        }
    }

    /// When the server has taken nothing for too long.
    pub(super) fn send_limit(&self) -> Option<Instant> {
        match &self.state {
            State::Open(open) => open.send_limit(),
            State::Connecting(_) | State::Over => None,
        }
    }

    /// What there is to tell. Where nothing is to be `read`, the server may say what it likes.
    pub(super) fn poll_news(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<News> {
        let news = match &mut self.state {
            State::Connecting(connecting) => match std::task::ready!(Pin::new(connecting).poll(cx))
            {
                Ok(Ok(socket)) => {
                    self.state = State::Open(Box::new(Open::new(socket)));
                    return Poll::Ready(News::Connected);
                }
                Ok(Err(error)) => News::Refused(error),
                Err(error) => News::Refused(ConnectError::Unreachable(error.to_string())),
            },
            State::Open(open) => match std::task::ready!(open.poll_news(cx, read)) {
                end @ News::Closed { .. } => end,
                news @ (News::Connected | News::Refused(_) | News::Text(_) | News::Alive) => {
                    return Poll::Ready(news);
                }
            },
            State::Over => return Poll::Pending,
        };
        self.state = State::Over;
        Poll::Ready(news)
    }

    /// Says goodbye, after what still waits. The task is over when that is done; `None` if there
    /// is nobody to say it to.
    pub(super) fn hang_up(self) -> Option<Task> {
        let State::Open(open) = self.state else { return None };
        Some(tasks::spawn("model goodbye", async move {
            if timeout(CLOSE_LIMIT, open.say_goodbye()).await.is_err() {
                tracing::debug!("a model's socket did not take a close frame");
            }
        }))
    }
}

impl Open {
    fn new(socket: Socket) -> Self {
        Self { socket, outbox: VecDeque::new(), sending: Sending::Nothing }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, meter: &Meter) {
        loop {
            if let Sending::Flushing { frame, stuck } = &mut self.sending {
                match Pin::new(&mut self.socket).poll_flush(cx) {
                    Poll::Pending => {
                        stuck.get_or_insert_with(clock::now);
                        return;
                    }
                    Poll::Ready(Ok(())) => {
                        count(*frame, meter);
                        self.sending = Sending::Nothing;
                    }
                    Poll::Ready(Err(error)) => self.sending = Sending::failed(&error),
                }
            }
            if !matches!(self.sending, Sending::Nothing) {
                return;
            }
            let Some((message, frame)) = self.outbox.pop_front() else { return };
            self.sending = match Pin::new(&mut self.socket).start_send(message) {
                Ok(()) => Sending::Flushing { frame, stuck: None },
                Err(error) => Sending::failed(&error),
            };
        }
    }

    fn send_limit(&self) -> Option<Instant> {
        match &self.sending {
            Sending::Flushing { stuck: Some(stuck), .. } => Some(*stuck + SEND_LIMIT),
            Sending::Nothing
            | Sending::Flushing { stuck: None, .. }
            | Sending::Broken(_)
            | Sending::Closed => None,
        }
    }

    fn poll_news(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<News> {
        if let Sending::Broken(reason) = &mut self.sending {
            let reason = std::mem::take(reason);
            return Poll::Ready(News::Closed { code: None, reason });
        }
        if self.send_limit().is_some_and(|limit| limit <= clock::now()) {
            let reason = format!("it takes nothing for {} s", SEND_LIMIT.as_secs());
            return Poll::Ready(News::Closed { code: None, reason });
        }
        if !read {
            return Poll::Pending;
        }
        Pin::new(&mut self.socket).poll_next(cx).map(received)
    }

    async fn say_goodbye(mut self) {
        for (message, _) in self.outbox.drain(..) {
            if self.socket.send(message).await.is_err() {
                return;
            }
        }
        if self.socket.close(None).await.is_err() {
            tracing::debug!("a model's socket was closed already");
        }
    }
}

impl Sending {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else it is, the reader is not told"
    )]
    fn failed(error: &Error) -> Self {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_) => Self::Closed,
            error => Self::Broken(error.to_string()),
        }
    }
}

/// Counts how long a frame took that has been given to the network.
fn count(frame: Option<OnTheWay>, meter: &Meter) {
    if let Some(OnTheWay { since, left_agent }) = frame {
        let now = clock::now();
        meter.observe(Stage::UplinkSocket, now.saturating_duration_since(left_agent));
        meter.observe(Stage::Uplink, now.saturating_duration_since(since));
    }
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
