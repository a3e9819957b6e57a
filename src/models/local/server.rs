//! The listening side: connections in, sessions out, each owned here.

use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::LocalModel;
use super::dialogue::Dialogue;
use super::outbox::Outbox;
use super::recognizer::Recognizer;
use super::seats::Seats;
use super::session;
use super::voice::Voice;
use super::wire::Refusal;
use crate::sys::tasks::{self, Task};

/// A client that has not said what it wants for so long does not want it.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// One event may be as large as the protocol's largest append: 15 MiB.
const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// What one read may take: most sessions are text, and a frame of sound fits as well.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// When the system cannot give us a connection, the next attempt waits for so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until its task is dropped; all sessions end with it.
pub(super) async fn run(model: LocalModel, listener: TcpListener) {
    let (recognizer, _serving) = Recognizer::start(model.moonshine);
    let mut sessions: FuturesUnordered<Task> = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let has_room = sessions.len() < model.sessions_max;
                    let host = Host {
                        has_room,
                        voice: model.voice,
                        recognizer: recognizer.clone(),
                        seats: model.seats.clone(),
                    };
                    sessions.push(tasks::spawn("local session", host.receive(stream)));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = sessions.next(), if !sessions.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a session of the local model broke");
                }
            }
        }
    }
}

/// What a new connection is met with.
struct Host {
    has_room: bool,
    voice: Voice,
    recognizer: Recognizer,
    seats: Seats,
}

/// What a request for a session says.
#[derive(Debug, Default, PartialEq)]
struct Wish {
    model: String,
    is_beta: bool,
}

impl Host {
    async fn receive(self, stream: TcpStream) {
        // Small events should not wait for larger ones.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let mut wish = Wish::default();
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        #[expect(clippy::result_large_err, reason = "the callback's type is the crate's")]
        let meet = |request: &Request, mut response: Response| {
            wish = read_request(request, self.has_room)?;
            if let Some(protocol) = protocol(request) {
                response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
            }
            Ok(response)
        };
        let handshake = accept_hdr_async_with_config(stream, meet, Some(config));
        match tokio::time::timeout(HANDSHAKE_PATIENCE, handshake).await {
            Ok(Ok(socket)) if wish.is_beta => refuse_beta(socket).await,
            Ok(Ok(socket)) => {
                let dialogue = Dialogue::new(&wish.model, self.voice, self.recognizer, self.seats);
                let ended = session::run(socket, dialogue).await;
                tracing::debug!(%ended, "a session of the local model ended");
            }
            Ok(Err(error)) => tracing::debug!(%error, "no WebSocket handshake"),
            Err(_) => tracing::debug!("a connection without a handshake"),
        }
    }
}

#[expect(clippy::result_large_err, reason = "the callback's type is the crate's")]
fn read_request(request: &Request, has_room: bool) -> Result<Wish, ErrorResponse> {
    if request.uri().path() != PATH {
        return Err(refusal(StatusCode::NOT_FOUND, "this server has /v1/realtime and no more"));
    }
    if !has_room {
        return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "too many sessions are open"));
    }
    let query = request.uri().query().unwrap_or_default();
    if query.split('&').any(|pair| pair.starts_with("intent=") || pair.starts_with("call_id=")) {
        return Err(refusal(StatusCode::BAD_REQUEST, "this server has voice sessions and no more"));
    }
    // There is but one model here, whatever it is called.
    let model = query.split('&').find_map(|pair| pair.strip_prefix("model="));
    let model = model.filter(|model| !model.is_empty()).unwrap_or("local");
    let is_beta = header_values(request, "openai-beta").any(|value| value == "realtime=v1")
        || protocols(request).any(|protocol| protocol == "openai-beta.realtime-v1");
    Ok(Wish { model: model.to_owned(), is_beta })
}

/// Browsers cannot set headers and offer their key as a protocol; they want one of them back.
fn protocol(request: &Request) -> Option<HeaderValue> {
    protocols(request).any(|protocol| protocol == "realtime").then(|| "realtime".parse().ok())?
}

fn protocols(request: &Request) -> impl Iterator<Item = &str> {
    let lists = header_values(request, "sec-websocket-protocol");
    lists.flat_map(|list| list.split(',').map(str::trim))
}

fn header_values<'a>(request: &'a Request, name: &str) -> impl Iterator<Item = &'a str> {
    request.headers().get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

fn refusal(status: StatusCode, message: &str) -> ErrorResponse {
    let body = serde_json::json!({
        "error": {"type": "invalid_request_error", "code": null, "message": message, "param": null},
    });
    let mut response = ErrorResponse::new(Some(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The protocol's old form is refused as the real server refuses it.
async fn refuse_beta(mut socket: WebSocketStream<TcpStream>) {
    let message = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the \
                   GA API.";
    let mut outbox = Outbox::new();
    outbox.push(&Refusal::new("beta_api_shape_disabled", message).event(None));
    let text = outbox.pop().unwrap_or_default();
    let frame = CloseFrame { code: CloseCode::Library(4000), reason: "beta".into() };
    let refusing = async {
        socket.send(Message::text(text)).await?;
        socket.close(Some(frame)).await?;
        // The other side's goodbye.
        while socket.next().await.is_some() {}
        Ok::<(), Error>(())
    };
    if let Ok(Err(error)) = tokio::time::timeout(HANDSHAKE_PATIENCE, refusing).await {
        tracing::debug!(%error, "a client of the old protocol left early");
    }
}

const PATH: &str = "/v1/realtime";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_name_its_model() {
        let wish = read_request(&request("/v1/realtime?model=mine"), true).unwrap();
        assert_eq!(wish, Wish { model: "mine".into(), is_beta: false });
        assert_eq!(read_request(&request("/v1/realtime"), true).unwrap().model, "local");
    }

    #[test]
    fn what_is_not_a_request_for_a_session_is_refused() {
        for (uri, has_room, status) in [
            ("/v1/chat", true, 404),
            ("/v1/realtime?intent=transcription", true, 400),
            ("/v1/realtime?call_id=rtc_1", true, 400),
            ("/v1/realtime?model=x", false, 503),
        ] {
            let response = read_request(&request(uri), has_room).unwrap_err();
            assert_eq!(response.status(), status, "{uri}");
        }
    }

    #[test]
    fn browsers_get_their_protocol_and_old_clients_are_known() {
        let mut request = request("/v1/realtime?model=x");
        let offered = "realtime, openai-insecure-api-key.sk-x, openai-beta.realtime-v1";
        request.headers_mut().insert("sec-websocket-protocol", offered.parse().unwrap());
        assert_eq!(protocol(&request).unwrap(), "realtime");
        assert!(read_request(&request, true).unwrap().is_beta);
    }

    fn request(uri: &str) -> Request {
        Request::builder().uri(uri).body(()).unwrap()
    }
}
