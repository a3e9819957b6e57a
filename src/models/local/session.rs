//! One session: an actor that owns its socket, its ear, its mind and its answers.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::dialogue::{Dialogue, Work};
use super::wire::Refusal;

/// The real server ends a session after an hour, and so do we.
pub(super) const LIFETIME: Duration = Duration::from_hours(1);

/// A client that does not read for so long has gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// How often we ask whether the client is still there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A client that has not even answered a ping for so long has gone.
const SILENCE_PATIENCE: Duration = Duration::from_mins(1);

/// Why a session is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The client has closed it.
    #[error("closed by the client")]
    Closed,
    /// Its hour is over.
    #[error("expired")]
    Expired,
    /// The client neither speaks nor answers.
    #[error("the client is gone")]
    Gone,
    /// The client does not read what we send.
    #[error("the client does not read")]
    Stuck,
    /// The socket has failed.
    #[error("the socket failed: {0}")]
    Socket(Box<Error>),
}

/// Runs a session to its end.
pub(super) async fn run(socket: WebSocketStream<TcpStream>, dialogue: Dialogue) -> Ended {
    let (sink, stream) = socket.split();
    let mut session = Session {
        sink,
        stream,
        dialogue,
        works: FuturesUnordered::new(),
        pings: pings(),
        heard_from: Instant::now(),
    };
    let ended = match session.serve().await {
        Ok(never) => match never {},
        Err(ended) => ended,
    };
    session.say_goodbye(&ended).await;
    ended
}

struct Session {
    sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    stream: SplitStream<WebSocketStream<TcpStream>>,
    dialogue: Dialogue,
    /// What the session waits for; it dies with the session.
    works: FuturesUnordered<Work>,
    pings: Interval,
    heard_from: Instant,
}

enum Never {}

impl Session {
    async fn serve(&mut self) -> Result<Never, Ended> {
        let end = Instant::now() + LIFETIME;
        loop {
            self.works.extend(self.dialogue.take_works());
            self.flush().await?;
            tokio::select! {
                message = self.stream.next() => self.on_message(message)?,
                Some(done) = self.works.next(), if !self.works.is_empty() => {
                    self.dialogue.on_done(done);
                }
                () = std::future::ready(()), if self.dialogue.has_speech() => {
                    self.dialogue.speak_on();
                }
                _ = self.pings.tick() => self.ping().await?,
                () = tokio::time::sleep_until(end) => return Err(Ended::Expired),
            }
        }
    }

    fn on_message(&mut self, message: Option<Result<Message, Error>>) -> Result<(), Ended> {
        let message = message.ok_or(Ended::Closed)?.map_err(socket_failed)?;
        self.heard_from = Instant::now();
        match message {
            Message::Text(text) => self.dialogue.on_text(&text),
            Message::Binary(_) => {
                let message = "Events are text frames; this one was binary.";
                self.dialogue.refuse(Refusal::new("invalid_event", message), None);
            }
            Message::Close(_) => return Err(Ended::Closed),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Ended> {
        if self.heard_from.elapsed() > SILENCE_PATIENCE {
            return Err(Ended::Gone);
        }
        let ping = self.sink.send(Message::Ping(Bytes::new()));
        let sent = tokio::time::timeout(WRITE_PATIENCE, ping).await;
        sent.map_err(|_| Ended::Stuck)?.map_err(socket_failed)
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        let sink = &mut self.sink;
        let outbox = &mut self.dialogue.outbox;
        let writing = async {
            while let Some(frame) = outbox.pop() {
                sink.feed(Message::text(frame)).await?;
            }
            sink.flush().await
        };
        let written = tokio::time::timeout(WRITE_PATIENCE, writing).await;
        written.map_err(|_| Ended::Stuck)?.map_err(socket_failed)
    }

    async fn say_goodbye(&mut self, ended: &Ended) {
        if let Ended::Expired = ended {
            let message = "Your session hit the maximum duration of 60 minutes.";
            self.dialogue.refuse(Refusal::new("session_expired", message), None);
            let frame = CloseFrame { code: CloseCode::Away, reason: "session expired".into() };
            if self.flush().await.is_ok() {
                self.close(Some(frame)).await;
            }
        } else if let Ended::Closed = ended {
            self.close(None).await;
        }
    }

    async fn close(&mut self, frame: Option<CloseFrame>) {
        let closing = self.sink.send(Message::Close(frame));
        // Whether the client still hears it makes no difference to us.
        let _ = tokio::time::timeout(WRITE_PATIENCE, closing).await;
    }
}

fn socket_failed(error: Error) -> Ended {
    if matches!(error, Error::ConnectionClosed) {
        return Ended::Closed;
    }
    Ended::Socket(Box::new(error))
}

fn pings() -> Interval {
    let mut pings = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}
