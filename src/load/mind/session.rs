//! The socket of one session with the built-in model.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};

use super::dialogue::Dialogue;
use super::{MindPlan, SessionLog};
use crate::load::talk::Answer;
use crate::sys::clock;

/// Serves one gateway's session to its end, and hands over what was seen of it.
pub(super) async fn run(
    stream: TcpStream,
    plan: MindPlan,
    answer: Arc<Answer>,
    ended: mpsc::Sender<SessionLog>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let handshake = accept_async_with_config(stream, Some(config));
    let mut socket = match tokio::time::timeout(HANDSHAKE_PATIENCE, handshake).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return tracing::debug!(%error, "no WebSocket handshake"),
        Err(_) => return tracing::debug!("a connection without a handshake"),
    };
    let mut dialogue = Dialogue::new(plan, answer);
    if let Err(error) = converse(&mut socket, &mut dialogue).await {
        tracing::debug!(%error, "a session broke off");
    }
    // Whoever measures may have what it needs already.
    let _ = ended.send(dialogue.into_log()).await;
}

async fn converse(
    socket: &mut WebSocketStream<TcpStream>,
    dialogue: &mut Dialogue,
) -> Result<(), Error> {
    loop {
        if let Some(text) = dialogue.pop() {
            socket.feed(Message::text(text)).await?;
            while let Some(text) = dialogue.pop() {
                socket.feed(Message::text(text)).await?;
            }
            socket.flush().await?;
        }
        tokio::select! {
            message = socket.next() => match message.transpose()? {
                Some(Message::Text(text)) => dialogue.on_text(&text, clock::now()),
                Some(Message::Close(_)) | None => return Ok(()),
                Some(_) => {}
            },
            () = at(dialogue.wake()) => dialogue.on_time(clock::now()),
        }
    }
}

/// Waits until an instant, or for ever.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => pending().await,
    }
}

/// What one read may take: a few frames of sound.
const READ_BUFFER_BYTES: usize = 8 * 1024;
/// A gateway that has not said what it wants for so long does not want it.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
