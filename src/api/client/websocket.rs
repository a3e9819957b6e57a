//! The way to a client over a plain WebSocket: one JSON object a frame.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

use super::super::wire::{
    Ack, AckFrame, AckName, ClientMessage, MESSAGE, ServerEvent, read_frame, to_text,
};
use super::{Breach, End, MESSAGE_BYTES_MAX, PATIENCE};

/// A WebSocket, its pulse, and what it has brought last.
///
/// While a message is being taken the next one is not read, and so a client that sends faster
/// than its agent can take is made to wait by its own connection.
pub(in crate::api) struct WebSocketLine<S = TokioIo<Upgraded>> {
    stream: WebSocketStream<S>,
    pulse: Pulse,
    /// What the message that was received last is to be acknowledged as.
    ack: Option<AckName>,
}

/// When to ask whether the other side is there, and by when it must have been heard.
struct Pulse {
    ping_at: Instant,
    heard_by: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketLine<S> {
    /// Takes a connection on which both sides have agreed to speak WebSocket.
    pub(in crate::api) async fn new(connection: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let stream = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
        let pulse = Pulse { ping_at: Instant::now() + PING, heard_by: None };
        Self { stream, pulse, ack: None }
    }

    pub(super) async fn receive(&mut self) -> Result<Result<ClientMessage, String>, End> {
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.stream.next() => frame.ok_or(End::Gone)?,
                () = tokio::time::sleep_until(self.pulse.due()) => {
                    self.beat().await?;
                    continue;
                }
            };
            self.pulse.heard_by = None;
            match frame.map_err(|error| end_of(&error))? {
                Message::Text(text) => return Ok(self.read(&text)),
                Message::Binary(_) => return Ok(Err("a message must be text".to_owned())),
                Message::Close(_) => return Err(End::Gone),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    pub(super) async fn acknowledge(&mut self, ack: &Ack<'_>) -> Result<(), End> {
        match self.ack.take() {
            Some(name) => self.send(Message::text(to_text(&AckFrame::new(name, ack)))).await,
            None => Ok(()),
        }
    }

    pub(super) async fn tell(&mut self, event: &ServerEvent<'_>) -> Result<(), End> {
        self.send(Message::text(to_text(event))).await
    }

    /// Says why, waits for the answer to that, and lets the connection go.
    pub(super) async fn close(mut self, end: End) {
        let farewell = async {
            if let Some(frame) = farewell_of(end) {
                // Whoever has gone needs no farewell.
                let _gone = self.stream.close(Some(frame)).await;
            }
            while let Some(Ok(_)) = self.stream.next().await {}
            if end != End::Gone {
                // What is still on its way would, unread, break the connection off before the
                // other side has read why.
                let mut rest = [0; 4096];
                while let Ok(1..) = self.stream.get_mut().read(&mut rest).await {}
            }
        };
        let _late = tokio::time::timeout(FAREWELL, farewell).await;
    }

    fn read(&mut self, text: &str) -> Result<ClientMessage, String> {
        let (ack, payload) = read_frame(text)?;
        self.ack = ack;
        ClientMessage::parse(MESSAGE, &payload)
    }

    /// Asks whether the other side is there; if it has not answered to that before, it is not.
    async fn beat(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.pulse.heard_by.is_some_and(|by| by <= now) {
            return Err(End::Gone);
        }
        // Only what has surely been asked can go unanswered: this may be dropped while it waits.
        let asked = self.stream.feed(Message::Ping(Bytes::new()));
        in_time(asked).await?;
        self.pulse = Pulse { ping_at: now + PING, heard_by: Some(now + PONG) };
        in_time(self.stream.flush()).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        in_time(self.stream.send(message)).await
    }
}

async fn in_time(sending: impl Future<Output = Result<(), Error>>) -> Result<(), End> {
    match tokio::time::timeout(PATIENCE, sending).await {
        Ok(sent) => sent.map_err(|error| end_of(&error)),
        Err(_) => Err(End::TooSlow),
    }
}

impl Pulse {
    fn due(&self) -> Instant {
        self.heard_by.unwrap_or(self.ping_at)
    }
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Broken(Breach::TooLarge),
        Error::Utf8(_) => End::Broken(Breach::NotText),
        Error::Protocol(reason) => {
            tracing::debug!(%reason, "a client has broken the rules of WebSocket");
            End::Broken(Breach::Protocol)
        }
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => End::Gone,
    }
}

/// The codes are those of RFC 6455, section 7.4.1, and 1012 from the registry it founded.
fn farewell_of(end: End) -> Option<CloseFrame> {
    let (code, reason) = match end {
        End::Agent(reason @ "SERVER_SHUTDOWN") => (CloseCode::Restart, reason),
        End::Agent(reason) => (CloseCode::Normal, reason),
        End::Key => (CloseCode::Policy, super::KEY_OVER.0),
        End::TooSlow => (CloseCode::Policy, "too slow"),
        End::Broken(Breach::TooLarge) => (CloseCode::Size, "the message is too large"),
        End::Broken(Breach::NotText) => (CloseCode::Invalid, "the text is not UTF-8"),
        End::Broken(Breach::Protocol) => (CloseCode::Protocol, "against the protocol"),
        End::Gone => return None,
    };
    Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) })
}

/// How often the other side is asked whether it is there.
const PING: Duration = Duration::from_secs(25);

/// How long it may take to answer.
const PONG: Duration = Duration::from_secs(20);

/// How long the other side may take to read the last words and to close its side.
const FAREWELL: Duration = Duration::from_secs(1);

/// Most messages are short, and every connection has a buffer of this size.
const READ_BUFFER_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_pings_stays() {
        let (mut ours, mut theirs) = pair().await;
        let began = Instant::now();
        let answers = async {
            for _ in 0..3 {
                // Reading a ping queues its answer, and reading on sends it.
                let ping = theirs.next().await.expect("a frame").expect("a frame");
                assert!(matches!(ping, Message::Ping(_)), "{ping:?}");
            }
            theirs.send(Message::text("{}")).await.expect("sent");
        };
        let (received, ()) = tokio::join!(ours.receive(), answers);
        assert!(received.expect("still there").is_err(), "no message, but a frame");
        assert_eq!(began.elapsed(), PING * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_not_heard_of_is_gone() {
        let (mut ours, theirs) = pair().await;
        let began = Instant::now();
        assert_eq!(ours.receive().await.expect_err("gone"), End::Gone);
        assert_eq!(began.elapsed(), PING + PONG);
        drop(theirs);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_too_slow() {
        let (mut ours, theirs) = pair().await;
        let (mut sent, began) = (0, Instant::now());
        let end = loop {
            match ours.send(Message::text("x".repeat(1_000))).await {
                Ok(()) => sent += 1,
                Err(end) => break end,
            }
        };
        assert_eq!((end, sent), (End::TooSlow, 4));
        assert_eq!(began.elapsed(), PATIENCE);
        ours.close(end).await;
        assert_eq!(began.elapsed(), PATIENCE + FAREWELL);
        drop(theirs);
    }

    async fn pair() -> (WebSocketLine<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = tokio::io::duplex(4_096);
        let theirs = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        (WebSocketLine::new(ours).await, theirs)
    }
}
