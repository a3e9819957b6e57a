//! What clients see: REST, Socket.IO, hosted rooms and their page, and health.

mod accounts;
mod auth;
mod body;
mod client;
mod convert;
mod error;
mod health;
mod rest;
mod rooms;
mod serve;
mod socket;
mod transports;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;

use self::error::ApiError;
use self::transports::Transports;
use crate::privacy::Secret;
use crate::runtime::Gateway;

pub use self::serve::serve;

/// How the API is set up.
#[derive(Clone, Debug, Default)]
pub struct ApiConfig {
    /// What the operator shows to manage users and keys; without one, nobody can.
    pub admin_token: Option<Secret>,
}

/// What every handler works with.
#[derive(Clone, Debug)]
struct Api {
    gateway: Gateway,
    config: Arc<ApiConfig>,
}

/// Everything that is served, Socket.IO included. Must be called within tokio.
pub fn router(gateway: Gateway, config: ApiConfig) -> Router {
    let api = Api { gateway, config: Arc::new(config) };
    let transports = Transports::start();
    Router::new()
        .merge(health::routes())
        .merge(rest::routes())
        .merge(accounts::routes())
        .merge(rooms::routes())
        .fallback(nowhere)
        .method_not_allowed_fallback(not_that_way)
        .layer(DefaultBodyLimit::max(body::BODY_BYTES_MAX))
        .with_state(api.clone())
        .layer(socket::layer(&api, &transports))
        .layer(from_fn_with_state(transports, socket::know_session))
}

async fn nowhere(uri: Uri) -> ApiError {
    ApiError::not_found(&format!("there is nothing at {}", uri.path()))
}

async fn not_that_way(method: Method, uri: Uri) -> ApiError {
    let message = format!("{method} is not for {}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
}
