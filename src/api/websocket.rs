//! The plain WebSocket: who may connect, and who owns the clients that did.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::Opened;
use super::body::Path;
use super::client::{Access, Client, Line, WebSocketLine};
use super::error::ApiError;
use super::socket::query_of;
use super::wire::{Credentials, ErrorBody};
use crate::ids::AgentId;
use crate::runtime::{CreateError, FindError, Subscription};
use crate::sys::tasks::{self, Task};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(connect))
}

/// Steer an agent over a WebSocket
///
/// What is said over it is described in `/asyncapi.yaml`. A client is let in, or refused as by any
/// other call: before there is a WebSocket.
#[utoipa::path(
    get,
    path = "/api/agents/{id}/socket",
    operation_id = "connectSocket",
    tag = "agents",
    security(("key" = []), ("bearer" = []), ("query" = [])),
    params(("id" = String, Path, description = "The agent.")),
    responses(
        (status = 101, description = "From here on it is a WebSocket (RFC 6455)."),
        (status = 400, body = ErrorBody, description = "`VALIDATION_ERROR`: the handshake has no \
            key."),
        (status = 404, body = ErrorBody, description = "`AGENT_NOT_FOUND`: there is no such \
            agent, or it is someone else's."),
        (status = 410, body = ErrorBody, description = "`AGENT_EXPIRED`: its time to live is \
            over."),
        (status = 426, body = ErrorBody, description = "`UPGRADE_REQUIRED`: the request does \
            not ask for a WebSocket of version 13.",
            headers(
                ("Upgrade" = String, description = "`websocket`."),
                ("Sec-WebSocket-Version" = String, description = "`13`."),
            )),
    ),
)]
async fn connect(
    State(api): State<Api>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    take_key_from_query(&mut parts);
    let protocol = take_key_from_protocols(&mut parts.headers);
    let Opened { owner, key } = Opened::from_request_parts(&mut parts, &api).await?;
    let accept = accept_key(&parts.headers)?;
    let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or(Refusal::NoUpgrade)?;
    if !api.gateway.is_ready() {
        return Err(ApiError::from(CreateError::Draining).into());
    }
    let agent = AgentId::new(id);
    let told = api.gateway.subscribe(&owner, &agent).await?;
    let client = serve(Access::new(&api, agent, key), told, upgrade);
    api.sockets.keep(tasks::spawn("client", client)).await;
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, WEBSOCKET),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    let protocol = protocol.map(|protocol| [(header::SEC_WEBSOCKET_PROTOCOL, protocol)]);
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers, protocol, ()).into_response())
}

async fn serve(access: Access, told: Subscription, upgrade: OnUpgrade) {
    match tokio::time::timeout(CONNECT, upgrade).await {
        Ok(Ok(connection)) => {
            let line = WebSocketLine::new(TokioIo::new(connection)).await;
            Client::new(access, Line::WebSocket(Box::new(line)), told).run().await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a WebSocket did not come about"),
        Err(_) => tracing::debug!("a WebSocket did not come about in time"),
    }
}

/// A browser can set no header on a WebSocket, so the key may stand in the query.
fn take_key_from_query(parts: &mut Parts) {
    let key = query_of::<Credentials>(&parts.uri).api_key;
    let key = key.and_then(|key| HeaderValue::from_str(&key).ok());
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        parts.headers.insert(API_KEY, key);
    }
}

/// Or it may stand among the protocols that a browser offers, where no log of URLs shows it: keys
/// have no character that a protocol's name may not have. The protocol that is chosen, if the
/// client knows it.
fn take_key_from_protocols(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let offered: Vec<_> = words(headers, &header::SEC_WEBSOCKET_PROTOCOL).collect();
    let key = offered.iter().find_map(|word| word.strip_prefix(KEY_PROTOCOL));
    let key = key.and_then(|key| HeaderValue::from_str(key).ok());
    let is_known = offered.contains(&PROTOCOL);
    if let Some(key) = key.filter(|key| !key.is_empty()) {
        headers.insert(API_KEY, key);
    }
    is_known.then_some(HeaderValue::from_static(PROTOCOL))
}

/// The words of a header that is a list.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// What proves to the client that its handshake was understood (RFC 6455, section 4.2.2).
fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let lists = |name: &HeaderName, word: &str| {
        words(headers, name).any(|one| one.eq_ignore_ascii_case(word))
    };
    let wants_upgrade =
        lists(&header::CONNECTION, "upgrade") && lists(&header::UPGRADE, "websocket");
    if !wants_upgrade || !lists(&header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refusal::NoUpgrade);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(Refusal::NoKey)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|_| Refusal::NoKey)
}

/// Why there is no WebSocket.
enum Refusal {
    /// As any call of REST is refused.
    Rest(ApiError),
    /// The request does not ask for one, or for another version than ours.
    NoUpgrade,
    /// The handshake has no key.
    NoKey,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Rest(error)
    }
}

impl From<FindError> for Refusal {
    fn from(error: FindError) -> Self {
        Self::Rest(match error {
            FindError::Expired => {
                ApiError::new(StatusCode::GONE, "AGENT_EXPIRED", error.to_string())
            }
            FindError::NotFound | FindError::Store(_) => error.into(),
        })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Rest(error) => error.into_response(),
            Self::NoUpgrade => {
                let message = "this is a WebSocket of version 13: ask for an upgrade to it";
                let status = StatusCode::UPGRADE_REQUIRED;
                let error = ApiError::new(status, "UPGRADE_REQUIRED", message);
                let version = HeaderValue::from_static("13");
                let headers =
                    [(header::UPGRADE, WEBSOCKET), (header::SEC_WEBSOCKET_VERSION, version)];
                (headers, error).into_response()
            }
            Self::NoKey => ApiError::invalid("Sec-WebSocket-Key", "is required").into_response(),
        }
    }
}

/// Owns the tasks of all WebSocket clients, and so ends them with the API. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Sockets {
    arrivals: mpsc::Sender<Task>,
    _task: Arc<Task>,
}

impl Sockets {
    pub(super) fn start() -> Self {
        let (arrivals, inbox) = mpsc::channel(ARRIVALS_CAPACITY);
        Self { arrivals, _task: Arc::new(tasks::spawn("sockets", own(inbox))) }
    }

    async fn keep(&self, task: Task) {
        if self.arrivals.send(task).await.is_err() {
            tracing::error!("nobody owns WebSockets any more; a client was dropped");
        }
    }
}

async fn own(mut arrivals: mpsc::Receiver<Task>) {
    let mut clients = FuturesUnordered::new();
    loop {
        tokio::select! {
            arrival = arrivals.recv() => match arrival {
                Some(task) => clients.push(task),
                None => return,
            },
            Some(ended) = clients.next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a client's task has panicked");
                }
            }
        }
    }
}

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What we speak, for clients that name it (RFC 6455, section 1.9).
const PROTOCOL: &str = "callbridge";

/// What stands before a key among the protocols.
const KEY_PROTOCOL: &str = "callbridge.key.";

/// Clients that may wait to be owned.
///
/// When full: the next one waits, for microseconds.
const ARRIVALS_CAPACITY: usize = 64;

/// How long the connection may take to become a WebSocket once that was agreed.
const CONNECT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_stand_among_the_protocols() {
        for (offered, key, protocol) in [
            ("callbridge, callbridge.key.ak_1", Some("ak_1"), Some("callbridge")),
            ("callbridge.key.ak_1", Some("ak_1"), None),
            ("callbridge", None, Some("callbridge")),
            ("callbridge, callbridge.key.", None, Some("callbridge")),
            ("chat", None, None),
        ] {
            let mut headers = HeaderMap::new();
            let offer = HeaderValue::from_static(offered);
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offer);
            let chosen = take_key_from_protocols(&mut headers);
            assert_eq!(chosen.as_ref().map(HeaderValue::as_bytes), protocol.map(str::as_bytes));
            let taken = headers.get(API_KEY).map(HeaderValue::as_bytes);
            assert_eq!(taken, key.map(str::as_bytes), "{offered}");
        }
    }
}
