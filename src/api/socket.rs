//! Socket.IO: who may connect, and where each client's messages go.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use socketioxide::SocketIo;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::layer::SocketIoLayer;
use thiserror::Error;
use tokio::sync::Notify;

use super::Api;
use super::auth::{KeyError, Opened, address_of, key_of, open};
use super::client::{Access, MESSAGE_BYTES_MAX, SocketIoLine};
use super::serve::{Cut, Peer};
use super::transports::Transports;
use super::wire::{Credentials, ENGINE_SESSION_UNKNOWN, EngineQuery};
use crate::ids::AgentId;
use crate::runtime::{FindError, Subscription};

/// Why a client may not connect: the message of its `connect_error` (contract, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("MISSING_AGENT_ID")]
    MissingAgentId,
    #[error("UNAUTHORIZED")]
    Unauthorized,
    #[error("RATE_LIMITED")]
    RateLimited,
    #[error("AGENT_NOT_FOUND")]
    AgentNotFound,
    #[error("AGENT_EXPIRED")]
    AgentExpired,
    #[error("SERVER_SHUTDOWN")]
    ServerShutdown,
    #[error("INTERNAL_ERROR")]
    Internal,
}

/// What belongs to one Engine.IO session from its first request on.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// Ends the connection of that request, if it carries nothing but this session.
    pub(super) cut: Option<Cut>,
    /// Told when the client is connected, and may be sent events.
    pub(super) connected: Arc<Notify>,
}

/// Socket.IO over everything that is routed.
pub(super) fn layer(api: &Api, transports: &Transports) -> SocketIoLayer {
    let (layer, io) = SocketIo::builder()
        .connect_timeout(CONNECT)
        .max_buffer_size(SENDS_CAPACITY)
        .max_payload(MESSAGE_BYTES_MAX as u64)
        .ws_max_message_size(MESSAGE_BYTES_MAX)
        .ws_max_frame_size(MESSAGE_BYTES_MAX)
        .build_layer();
    let (api, transports) = (api.clone(), transports.clone());
    let admit = move |socket: SocketRef, TryData(auth): TryData<Credentials>| {
        let (api, transports) = (api.clone(), transports.clone());
        async move { admit(api, transports, socket, auth.unwrap_or_default()).await }
    };
    let greet = |socket: SocketRef| {
        session_of(&socket).connected.notify_one();
        std::future::ready(())
    };
    io.ns("/", greet.with(admit));
    layer
}

/// Gives each new session what belongs to it, and keeps ended ones from coming back.
pub(super) async fn know_session(
    State(transports): State<Transports>,
    mut request: Request,
    next: Next,
) -> Response {
    if !request.uri().path().starts_with("/socket.io") {
        return next.run(request).await;
    }
    let query = query_of::<EngineQuery>(request.uri());
    let is_websocket = query.transport.as_deref() == Some("websocket");
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    // A connection that polls may be a proxy's, and carry others' requests: only a WebSocket is
    // ever cut.
    let cut = peer.filter(|_| is_websocket).map(|peer| peer.cut.clone());
    match (query.sid, cut) {
        (None, cut) => {
            let session = Session { cut, ..Session::default() };
            request.extensions_mut().insert(session);
        }
        (Some(sid), Some(cut)) => transports.moved(sid, cut).await,
        (Some(sid), None) if request.method() == Method::GET => {
            return tokio::select! {
                response = next.run(request) => response,
                () = transports.polled_in_vain(sid) => session_unknown(),
            };
        }
        (Some(_), None) => {}
    }
    next.run(request).await
}

fn session_unknown() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CONNECTION, "close")];
    (StatusCode::BAD_REQUEST, headers, ENGINE_SESSION_UNKNOWN).into_response()
}

/// Runs before a client is connected: everything is in place when its first message comes.
async fn admit(
    api: Api,
    transports: Transports,
    socket: SocketRef,
    auth: Credentials,
) -> Result<(), Refusal> {
    match subscribe(&api, &socket, auth).await {
        Ok((access, subscription)) => {
            SocketIoLine::start(access, subscription, &socket, transports);
            Ok(())
        }
        Err(refusal) => {
            tracing::debug!(%refusal, "a client was refused");
            transports.ended(socket.id.to_string(), session_of(&socket).cut).await;
            Err(refusal)
        }
    }
}

async fn subscribe(
    api: &Api,
    socket: &SocketRef,
    auth: Credentials,
) -> Result<(Access, Subscription), Refusal> {
    let request = socket.req_parts();
    let query = query_of::<Credentials>(&request.uri);
    let given = |text: &String| !text.is_empty();
    let agent = query.agent_id.filter(given).or(auth.agent_id.filter(given));
    let agent = AgentId::new(agent.ok_or(Refusal::MissingAgentId)?);
    let header = key_of(&request.headers).map(str::to_owned);
    let key = query.api_key.filter(given).or(auth.api_key.filter(given)).or(header);
    let key = key.ok_or(Refusal::Unauthorized)?;
    let Opened { owner, key } = open(api, &key, address_of(&request.extensions)).await?;
    if !api.gateway.is_ready() {
        return Err(Refusal::ServerShutdown);
    }
    let subscription = api.gateway.subscribe(&owner, &agent).await;
    let subscription = subscription.map_err(|error| match error {
        // It has gone because the gateway goes, and the store with it.
        _ if !api.gateway.is_ready() => Refusal::ServerShutdown,
        FindError::NotFound => Refusal::AgentNotFound,
        FindError::Expired => Refusal::AgentExpired,
        FindError::Store(reason) => internal(&reason),
    })?;
    Ok((Access::new(api, agent, key), subscription))
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unknown => Self::Unauthorized,
            KeyError::TooMany(_) => Self::RateLimited,
            KeyError::Draining => Self::ServerShutdown,
            KeyError::Store(error) => internal(&error),
        }
    }
}

fn internal(error: &dyn std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a client could not be let in: the store failed");
    Refusal::Internal
}

/// What belongs to a client's session; a request that came by no known road has none of it.
pub(super) fn session_of(socket: &SocketRef) -> Session {
    socket.req_parts().extensions.get::<Session>().cloned().unwrap_or_default()
}

pub(super) fn query_of<T: Default + super::wire::FromQuery>(uri: &Uri) -> T {
    Query::<T>::try_from_uri(uri).map(|Query(query)| query).unwrap_or_default()
}

/// How long a connection may stay without a client on it: a name and a key come at once.
const CONNECT: Duration = Duration::from_secs(10);

/// Packets that may wait for one client's connection.
///
/// When full: the client's task waits, and disconnects a client that takes nothing for a while, by
/// name; nothing is skipped silently. Engine.IO's own pings need a place as well, and a session
/// that has none left for a ping is over: hence far more than a client that reads leaves waiting.
const SENDS_CAPACITY: usize = 4096;
