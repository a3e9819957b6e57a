//! The HTTP of WHIP (RFC 9725): offers by POST, what changes later by PATCH, goodbye by DELETE.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, IF_MATCH, LINK, LOCATION,
};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Method, Response, StatusCode, Url};

use super::links;
use crate::agent::RoomFailure;
use crate::privacy::Secret;
use crate::rooms::peer::IceServer;
use crate::rooms::sdp::{self, SDP_MAX};
use crate::sys::tasks;

/// An endpoint, and what opens it. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    token: Option<Secret>,
}

/// What an endpoint makes of an offer.
#[derive(Debug)]
pub(super) struct Welcome {
    /// The SDP answer, which promises sound.
    pub(super) answer: String,
    /// What may be changed and ended; not every endpoint names it.
    pub(super) session: Option<Session>,
    /// The servers for ICE that it recommends.
    pub(super) servers: Vec<IceServer>,
}

/// What our leg is to the endpoint.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    url: Url,
    token: Option<Secret>,
    /// The entity tag of its ICE session, as it came.
    etag: Option<String>,
    is_changeable: bool,
}

impl Endpoint {
    /// The way to an endpoint.
    pub(super) async fn open(url: Url, token: Option<Secret>) -> Result<Self, RoomFailure> {
        // To read the machine's certificates takes longer than frames of other calls may wait.
        let opened = tasks::spawn_blocking(move || Self::new(url, token)).await;
        opened.unwrap_or_else(|error| Err(RoomFailure::Unreachable(error.to_string())))
    }

    fn new(url: Url, token: Option<Secret>) -> Result<Self, RoomFailure> {
        // Another part of the process may have installed one, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Redirects are ours: who may see the token is not for a library to decide.
        let client = Client::builder().timeout(REQUEST).connect_timeout(CONNECT);
        // A connection that is kept would be found dead when the network has changed: just then.
        let client = client.redirect(Policy::none()).pool_max_idle_per_host(0).build();
        let client = client.map_err(|error| RoomFailure::Unreachable(why(&error)))?;
        Ok(Self { client, url, token })
    }

    /// Offers, and waits for the answer.
    pub(super) async fn offer(&self, offer: &str) -> Result<Welcome, RoomFailure> {
        let mut headers = HeaderMap::new();
        insert(&mut headers, CONTENT_TYPE, SDP);
        insert(&mut headers, ACCEPT, SDP);
        let Self { client, url, token } = self;
        let request =
            Request { method: Method::POST, url, token: token.as_ref(), headers, body: offer };
        let (response, token) = send(client, request).await.map_err(RoomFailure::Unreachable)?;
        let session = Session::of(client, &response, token.as_ref());
        let links = response.headers().get_all(LINK).iter();
        let servers = links::ice_servers(links.filter_map(|value| value.to_str().ok()));
        let status = response.status();
        let answer = match read(response).await {
            Ok(body) => judged(status, body),
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(answer) => Ok(Welcome { answer, session, servers }),
            Err(failure) => {
                if let (true, Some(session)) = (status.is_success(), session) {
                    session.delete().await;
                }
                Err(failure)
            }
        }
    }

    /// Where it is.
    pub(super) const fn url(&self) -> &Url {
        &self.url
    }
}

impl Session {
    fn of(client: &Client, response: &Response, token: Option<&Secret>) -> Option<Self> {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let url = response.url().join(text(LOCATION)?).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let etag = text(ETAG).map(str::to_owned);
        let is_changeable = etag.is_some() || text(ACCEPT_PATCH).is_some();
        // Whoever got the token may say where it is to be shown; but not to everybody on the way.
        let token = token.filter(|_| !is_exposed(response.url(), &url)).cloned();
        Some(Self { client: client.clone(), url, token, etag, is_changeable })
    }

    /// Whether it takes trickled addresses and restarts of ICE.
    pub(super) const fn is_changeable(&self) -> bool {
        self.is_changeable
    }

    /// Tells it more addresses of ours (section 4.3.2).
    pub(super) async fn trickle(&self, fragment: &str) -> Result<(), RoomFailure> {
        let tag = self.etag.clone();
        let (status, ..) = self.patch(fragment, tag.as_deref()).await?;
        if status.is_success() { Ok(()) } else { Err(refused(status)) }
    }

    /// Restarts ICE (section 4.3.3); the answer is a fragment too.
    pub(super) async fn restart(&mut self, fragment: &str) -> Result<String, RoomFailure> {
        let (status, etag, body) = self.patch(fragment, Some("*")).await?;
        if status != StatusCode::OK {
            return Err(refused(status));
        }
        self.etag = etag;
        Ok(body)
    }

    /// Whether it can be reached; what it answers does not matter.
    pub(super) async fn probe(&self) -> Result<(), RoomFailure> {
        let answered = self.send(Method::OPTIONS, HeaderMap::new(), "").await;
        answered.map(drop).map_err(RoomFailure::Unreachable)
    }

    /// Says goodbye. An endpoint that does not take it will notice.
    pub(super) async fn delete(self) {
        let gone = tokio::time::timeout(GOODBYE, self.send(Method::DELETE, HeaderMap::new(), ""));
        match gone.await {
            Ok(Ok(response)) => tracing::debug!(status = %response.status(), "said goodbye"),
            Ok(Err(error)) => tracing::info!(error, "the endpoint did not take our goodbye"),
            Err(_) => tracing::info!("the endpoint did not take our goodbye in time"),
        }
    }

    async fn patch(
        &self,
        fragment: &str,
        tag: Option<&str>,
    ) -> Result<(StatusCode, Option<String>, String), RoomFailure> {
        let mut headers = HeaderMap::new();
        insert(&mut headers, CONTENT_TYPE, FRAGMENT);
        if let Some(tag) = tag {
            insert(&mut headers, IF_MATCH, tag);
        }
        let response = self.send(Method::PATCH, headers, fragment).await;
        let response = response.map_err(RoomFailure::Unreachable)?;
        let etag = response.headers().get(ETAG).and_then(|value| value.to_str().ok());
        let (status, etag) = (response.status(), etag.map(str::to_owned));
        Ok((status, etag, read(response).await?))
    }

    async fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        body: &str,
    ) -> Result<Response, String> {
        let Self { client, url, token, .. } = self;
        let request = Request { method, url, token: token.as_ref(), headers, body };
        Ok(send(client, request).await?.0)
    }
}

struct Request<'a> {
    method: Method,
    url: &'a Url,
    token: Option<&'a Secret>,
    headers: HeaderMap,
    body: &'a str,
}

/// Sends a request, again where it is redirected to (RFC 9110, sections 15.4.8 and 15.4.9), and
/// the token only to the place that it is for. The answer, and the token if its sender saw it.
async fn send(client: &Client, request: Request<'_>) -> Result<(Response, Option<Secret>), String> {
    let Request { method, url: first, token, headers, body } = request;
    let mut url = first.clone();
    for _ in 0..=REDIRECTS_MAX {
        let token = token.filter(|_| url.origin() == first.origin());
        let mut request = client.request(method.clone(), url.clone()).headers(headers.clone());
        if !body.is_empty() {
            request = request.body(Body::from(body.to_owned()));
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let response = request.send().await.map_err(|error| why(&error))?;
        let is_elsewhere = matches!(
            response.status(),
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
        );
        if !is_elsewhere {
            return Ok((response, token.cloned()));
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let next = location.and_then(|location| url.join(location).ok());
        let next = next.filter(|next| matches!(next.scheme(), "http" | "https"));
        let next = next.ok_or("it redirects to nowhere")?;
        if is_exposed(&url, &next) {
            return Err("it redirects from https to http".to_owned());
        }
        url = next;
    }
    Err("it redirects too often".to_owned())
}

fn judged(status: StatusCode, body: String) -> Result<String, RoomFailure> {
    match status {
        StatusCode::CREATED | StatusCode::OK if sdp::sends(&body) => Ok(body),
        StatusCode::CREATED | StatusCode::OK => {
            Err(RoomFailure::Media("the endpoint listens, but does not talk back".to_owned()))
        }
        // Our own kind says so in words.
        StatusCode::SERVICE_UNAVAILABLE if FULL.iter().any(|code| body.contains(code)) => {
            Err(RoomFailure::Full)
        }
        _ => Err(refused(status)),
    }
}

/// What an endpoint means by an answer that is none.
fn refused(status: StatusCode) -> RoomFailure {
    match status.as_u16() {
        401 | 403 => RoomFailure::Unauthorized,
        404 | 410 => RoomFailure::NotFound,
        429 | 486 => RoomFailure::Full,
        400 | 406 | 409 | 412 | 415 | 422 => {
            RoomFailure::Media(format!("the endpoint refused the offer: {status}"))
        }
        _ => RoomFailure::Unreachable(format!("the endpoint answered {status}")),
    }
}

async fn read(mut response: Response) -> Result<String, RoomFailure> {
    let broken = |error: reqwest::Error| RoomFailure::Unreachable(why(&error));
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > SDP_MAX {
            return Err(RoomFailure::Media("the answer is too long".to_owned()));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| RoomFailure::Media("the answer is no text".to_owned()))
}

/// Whether a way from here to there leaves the cover of TLS.
fn is_exposed(from: &Url, to: &Url) -> bool {
    from.scheme() == "https" && to.scheme() != "https"
}

/// What went wrong at the bottom of it. The URL is left out: it may be a key.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut source = error.source();
    while let Some(deeper) = source.and_then(|error| error.source()) {
        source = Some(deeper);
    }
    source.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // What an endpoint has once sent in a header can be sent back in one.
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Codes of another callbridge that has no place, which are said with a 503 like much else.
const FULL: [&str; 2] = ["\"ROOM_FULL\"", "\"CAPACITY\""];

/// How long one request may take; an endpoint answers in a round trip and some work.
const REQUEST: Duration = Duration::from_secs(10);

/// How long a connection may take to be made, with one packet of it lost.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_millis(1500);

/// How often a request may be sent on.
const REDIRECTS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_meaning() {
        for (status, code) in [
            (401, "ROOM_UNAUTHORIZED"),
            (403, "ROOM_UNAUTHORIZED"),
            (404, "ROOM_NOT_FOUND"),
            (410, "ROOM_NOT_FOUND"),
            (429, "ROOM_FULL"),
            (486, "ROOM_FULL"),
            (406, "MEDIA_FAILED"),
            (415, "MEDIA_FAILED"),
            (302, "ROOM_UNREACHABLE"),
            (500, "ROOM_UNREACHABLE"),
            (503, "ROOM_UNREACHABLE"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(judged(status, String::new()).unwrap_err().code(), code, "{status}");
        }
        let full = judged(StatusCode::SERVICE_UNAVAILABLE, r#"{"code":"CAPACITY"}"#.to_owned());
        assert_eq!(full, Err(RoomFailure::Full));
    }

    #[test]
    fn an_answer_must_promise_sound() {
        let judged = |direction: &str| judged(StatusCode::CREATED, format!("v=0\r\na={direction}"));
        assert!(judged("sendrecv").is_ok() && judged("sendonly").is_ok());
        assert_eq!(judged("recvonly").unwrap_err().code(), "MEDIA_FAILED");
        assert_eq!(judged("inactive").unwrap_err().code(), "MEDIA_FAILED");
    }
}
