//! The feed of an owner: what all of their agents tell, as it happens.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::header;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::Opened;
use super::convert::feed_event;
use super::wire::{FeedEventSchema, to_text};
use crate::runtime::OwnerWatch;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(feed))
}

/// Watch all agents
///
/// What every agent of the key's owner tells, as server-sent events, from the request on. Who
/// watches is no client: no agent stays in a call for it. A watcher that does not keep up sees the
/// end of the stream, and should read the lists and open it anew; so does one whose key is valid
/// no longer.
#[utoipa::path(
    get,
    path = "/api/feed",
    operation_id = "watchAgents",
    tag = "agents",
    security(("key" = []), ("bearer" = [])),
    responses((status = 200, body = FeedEventSchema, content_type = "text/event-stream",
        description = "A stream without end, of such events.")),
)]
async fn feed(State(api): State<Api>, Opened { owner, mut key }: Opened) -> Response {
    let events = events(api.gateway.watch_agents(owner));
    let events = events.take_until(async move { key.over().await });
    let events = Sse::new(events).keep_alive(KeepAlive::default());
    ([(header::CACHE_CONTROL, "no-store")], events).into_response()
}

fn events(watch: OwnerWatch) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(watch, |mut watch| async move {
        let news = watch.next().await?;
        Some((Ok(Event::default().data(to_text(&feed_event(&news)))), watch))
    })
}
