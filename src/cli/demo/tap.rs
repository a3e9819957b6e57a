//! A tap between the gateway and the model: passes all messages on, and notes when sound passes.
//!
//! What lies on the model's side of it is the model's time; the rest of an answer's delay is ours.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::Context as _;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, accept_hdr_async, connect_async};

use crate::media::{AUDIBLE, frames_of};
use crate::models::wire::{ClientEvent, Message as ClientMessage, PcmDecoder};
use crate::sys::clock;
use crate::sys::tasks::{self, Task};

/// Notes that may wait to be read: some seconds of speech.
///
/// When full: the newest note is lost, and the measurement with it.
const NOTES_CAPACITY: usize = 1_024;

/// A tap in front of one model server.
#[derive(Debug)]
pub(super) struct Tap {
    at: SocketAddr,
    /// The query that the server's own address has, which the gateway must see.
    query: String,
    notes: mpsc::Receiver<Note>,
    _task: Task,
}

/// Sound that has passed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Note {
    /// Audible sound, towards the model.
    Asked(Instant),
    /// Sound of an answer, from the model.
    Answered(Instant),
}

impl Tap {
    /// Opens a tap in front of the server at `url`.
    pub(super) async fn open(url: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let at = listener.local_addr()?;
        let (server, query) = url.split_once('?').unwrap_or((&url, ""));
        let (server, query) = (server.to_owned(), query.to_owned());
        let (told, notes) = mpsc::channel(NOTES_CAPACITY);
        let task = tasks::spawn("tap", async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Err(error) = pass(stream, &server, &told).await {
                    tracing::debug!(%error, "a tapped session has ended");
                }
            }
        });
        Ok(Self { at, query, notes, _task: task })
    }

    /// Where the gateway finds the tap.
    pub(super) fn url(&self) -> String {
        let separator = if self.query.is_empty() { "" } else { "?" };
        format!("ws://{}/v1/realtime{separator}{}", self.at, self.query)
    }

    /// What has passed since the last call.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Note> {
        std::iter::from_fn(|| self.notes.try_recv().ok())
    }
}

type Near = WebSocketStream<TcpStream>;
type Far = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[expect(clippy::result_large_err, reason = "the handshake's callback has this shape")]
/// One session: as the gateway asks for it, so it is asked of the server.
async fn pass(stream: TcpStream, url: &str, notes: &mpsc::Sender<Note>) -> anyhow::Result<()> {
    let mut asked = None;
    let near = accept_hdr_async(stream, |request: &Request, response: Response| {
        asked = Some((request.uri().query().map(str::to_owned), request.headers().clone()));
        Ok(response)
    });
    let near = near.await?;
    let (query, headers) = asked.context("no request")?;
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut request = format!("{url}{query}").into_client_request()?;
    for name in ["authorization", "api-key"] {
        if let Some(value) = headers.get(name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    let (far, _) = connect_async(request).await?;
    let ((near_out, near_in), (far_out, far_in)) = (near.split(), far.split());
    tokio::select! {
        up = up(near_in, far_out, notes) => up?,
        down = down(far_in, near_out, notes) => down?,
    }
    Ok(())
}

async fn up(
    mut from: SplitStream<Near>,
    mut to: SplitSink<Far, Message>,
    notes: &mpsc::Sender<Note>,
) -> Result<(), Error> {
    while let Some(message) = from.next().await.transpose()? {
        if is_audible(&message) {
            note(notes, Note::Asked(clock::now()));
        }
        to.send(message).await?;
    }
    Ok(())
}

async fn down(
    mut from: SplitStream<Far>,
    mut to: SplitSink<Near, Message>,
    notes: &mpsc::Sender<Note>,
) -> Result<(), Error> {
    while let Some(message) = from.next().await.transpose()? {
        if is_sound(&message) {
            note(notes, Note::Answered(clock::now()));
        }
        to.send(message).await?;
    }
    Ok(())
}

fn note(notes: &mpsc::Sender<Note>, what: Note) {
    if notes.try_send(what).is_err() {
        tracing::debug!("nobody reads the tap");
    }
}

fn is_audible(message: &Message) -> bool {
    let Message::Text(text) = message else { return false };
    let Ok(ClientMessage { event: ClientEvent::Append(append), .. }) = ClientEvent::decode(text)
    else {
        return false;
    };
    let samples = PcmDecoder::default().decode(&append.audio).unwrap_or_default();
    frames_of(&samples).any(|frame| frame.level() >= AUDIBLE)
}

fn is_sound(message: &Message) -> bool {
    let Message::Text(text) = message else { return false };
    // The beta name of the event is spoken by some servers.
    let head = &text.as_bytes()[..text.len().min(200)];
    let has = |name: &[u8]| head.windows(name.len()).any(|window| window == name);
    has(b"\"response.output_audio.delta\"") || has(b"\"response.audio.delta\"")
}
