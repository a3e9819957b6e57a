//! What clients see: REST, Socket.IO, WebSockets, hosted rooms and their page, and health.

mod accounts;
mod asked;
mod asyncapi;
mod auth;
mod body;
mod calls;
mod certificate;
mod client;
mod console;
mod convert;
mod describe;
mod docs;
mod error;
mod feed;
mod health;
mod hosting;
mod ice_servers;
mod keys;
mod limits;
mod metrics;
mod page;
mod recordings;
mod rest;
mod rooms;
mod serve;
mod socket;
mod tls;
mod transports;
mod webhooks;
mod websocket;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use ipnet::IpNet;
use utoipa_axum::router::OpenApiRouter;

use self::describe::Description;
use self::error::ApiError;
use self::keys::Revocations;
use self::limits::Limits;
use self::transports::Transports;
use self::websocket::Sockets;
use crate::privacy::Secret;
use crate::runtime::Gateway;

pub use self::certificate::{CertificateError, Tls, TlsFiles};
pub use self::ice_servers::{IceServers, TurnServers};
pub use self::limits::Rates;
pub use self::serve::{Door, serve};

/// How the API is set up.
#[derive(Clone, Debug, Default)]
pub struct ApiConfig {
    /// What the operator shows to manage users and keys; without one, nobody can.
    pub admin_token: Option<Secret>,
    /// How much one caller may ask for.
    pub rates: Rates,
    /// The STUN and TURN servers that callers are told of.
    pub ice: IceServers,
    /// Networks whose proxies are believed when they say whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
}

/// What every handler works with.
#[derive(Clone, Debug)]
struct Api {
    gateway: Gateway,
    config: Arc<ApiConfig>,
    description: Description,
    limits: Arc<Limits>,
    revocations: Revocations,
    sockets: Sockets,
}

/// Everything that is served, Socket.IO included. Must be called within tokio.
pub fn router(gateway: Gateway, config: ApiConfig) -> Router {
    let (routes, description) = routes();
    let limits = Arc::new(Limits::new(config.rates));
    let trusted: Arc<[IpNet]> = config.trusted_proxies.clone().into();
    let (config, sockets) = (Arc::new(config), Sockets::start());
    let revocations = Revocations::new();
    let api = Api { gateway, config, description, limits, revocations, sockets };
    let transports = Transports::start();
    routes
        .fallback(nowhere)
        .method_not_allowed_fallback(not_that_way)
        .layer(DefaultBodyLimit::max(body::BODY_BYTES_MAX))
        .with_state(api.clone())
        .layer(from_fn_with_state(api.clone(), health::refuse_while_draining))
        .layer(socket::layer(&api, &transports))
        .layer(from_fn_with_state(transports, socket::know_session))
        .layer(from_fn_with_state(trusted, asked::note))
}

/// What is routed, and the description that it is routed by: a handler has no other way in.
fn routes() -> (Router<Api>, Description) {
    let (routes, described) = OpenApiRouter::new()
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(rest::routes())
        .merge(accounts::routes())
        .merge(calls::routes())
        .merge(recordings::routes())
        .merge(feed::routes())
        .merge(console::routes())
        .merge(hosting::routes())
        .merge(rooms::routes())
        .merge(webhooks::routes())
        .merge(websocket::routes())
        .merge(asyncapi::routes())
        .merge(docs::routes())
        .split_for_parts();
    (routes, Description::of(described))
}

async fn nowhere(uri: Uri) -> ApiError {
    ApiError::not_found(&format!("there is nothing at {}", uri.path()))
}

async fn not_that_way(method: Method, uri: Uri) -> ApiError {
    let message = format!("{method} is not for {}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
}
