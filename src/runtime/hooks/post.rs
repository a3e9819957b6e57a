//! One attempt to deliver: a POST, and whether it was taken.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use thiserror::Error;

use super::signature::signature;
use super::url::{PublicResolver, WebhookUrl};
use crate::ids::DeliveryId;
use crate::store::Letter;
use crate::sys::{clock, tls};

/// Whoever makes attempts. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Courier {
    client: Client,
    /// Whether private networks may be told.
    goes_home: bool,
}

/// Why a receiver has not taken what was sent.
#[derive(Debug, Error)]
pub(super) enum PostError {
    #[error("the URL is none that may be asked")]
    BadUrl,
    #[error("the URL leads to a private address")]
    Private,
    #[error("it is not reached: {0}")]
    Unreachable(String),
    #[error("it answers {0}")]
    Refused(StatusCode),
}

impl Courier {
    pub(super) fn new(goes_home: bool) -> Result<Self, reqwest::Error> {
        Self::within(ATTEMPT, goes_home)
    }

    fn within(deadline: Duration, goes_home: bool) -> Result<Self, reqwest::Error> {
        tls::choose_cryptography();
        // A redirect may lead anywhere, and a proxy would resolve names in our place.
        let client = Client::builder().redirect(Policy::none()).no_proxy();
        let client = client.timeout(deadline).pool_max_idle_per_host(0);
        let client = client.user_agent(concat!("callbridge/", env!("CARGO_PKG_VERSION")));
        let client = if goes_home { client } else { client.dns_resolver(PublicResolver) };
        Ok(Self { client: client.build()?, goes_home })
    }

    /// Delivers once, and waits for the answer.
    pub(super) async fn post(&self, id: &DeliveryId, letter: Letter) -> Result<(), PostError> {
        let Letter { url, secret, event, body } = letter;
        let url = WebhookUrl::parse(&url).ok_or(PostError::BadUrl)?;
        if url.is_private() && !self.goes_home {
            return Err(PostError::Private);
        }
        let request = self
            .client
            .post(url.into_url())
            .header(CONTENT_TYPE, "application/json")
            .header("Callbridge-Event", event)
            .header("Callbridge-Delivery", id.as_str())
            .header("Callbridge-Signature", signature(&secret, clock::unix_ms() / 1_000, &body))
            .body(body);
        let response = request.send().await;
        let response = response.map_err(|error| PostError::Unreachable(why(&error)))?;
        let status = response.status();
        hear_out(response).await;
        if status.is_success() { Ok(()) } else { Err(PostError::Refused(status)) }
    }
}

/// Takes a short answer to its end, for receivers that mind if nobody does; the words are nothing
/// to us.
async fn hear_out(mut response: Response) {
    let mut heard = 0;
    while heard < ANSWER_BYTES_MAX {
        // The status has come, and a break does not change it.
        let Ok(Some(chunk)) = response.chunk().await else { return };
        heard += chunk.len();
    }
}

/// The innermost reason, without the URL: it may have a token in it.
fn why(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = match error.source() {
        Some(source) => source,
        None => return "the request cannot be made".to_owned(),
    };
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// From the first packet to the end of the answer: whoever does more than to note what it is told
/// should do it afterwards.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Of an answer's body, so much is read at most.
const ANSWER_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::privacy::Secret;
    use crate::sys::tasks::{self, Task};

    #[tokio::test]
    async fn whoever_does_not_answer_in_time_is_not_reached() {
        let (_listener, url) = listen().await;
        let courier = Courier::within(Duration::from_millis(50), true).unwrap();
        let tried = courier.post(&delivery(), letter(url)).await;
        assert!(matches!(tried, Err(PostError::Unreachable(_))), "{tried:?}");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_heard_to_its_end() {
        let (_serving, url) = answer("200 OK").await;
        let courier = Courier::within(Duration::from_hours(1), true).unwrap();
        let (id, patience) = (delivery(), Duration::from_secs(20));
        let tried = tokio::time::timeout(patience, courier.post(&id, letter(url))).await;
        assert!(matches!(tried, Ok(Ok(()))), "{tried:?}");
    }

    #[tokio::test]
    async fn a_redirect_is_no_success_wherever_it_leads() {
        let (_serving, url) = answer("307 Temporary Redirect\r\nLocation: /").await;
        let tried = Courier::new(true).unwrap().post(&delivery(), letter(url)).await;
        assert!(matches!(tried, Err(PostError::Refused(status)) if status == 307), "{tried:?}");
    }

    #[tokio::test]
    async fn whoever_lives_at_home_is_not_asked() {
        let (listener, url) = listen().await;
        let courier = Courier::new(false).unwrap();
        let tried = courier.post(&delivery(), letter(url.clone())).await;
        assert!(matches!(tried, Err(PostError::Private)), "{tried:?}");
        let tried = courier.post(&delivery(), letter(url.replace("127.0.0.1", "localhost"))).await;
        let told = tried.expect_err("a name of this machine").to_string();
        assert_eq!(told, "it is not reached: it leads to private addresses only");
        let knock = std::pin::pin!(listener.accept());
        assert!(futures_util::poll!(knock).is_pending(), "nobody has knocked");
    }

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        (listener, url)
    }

    /// A receiver that gives this answer to the first who asks, and talks on without end.
    async fn answer(head: &'static str) -> (Task, String) {
        let (listener, url) = listen().await;
        let serving = tasks::spawn("receiver", async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 4]).await.unwrap();
            let head = format!("HTTP/1.1 {head}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(&[b'x'; 512]).await.is_ok() {}
        });
        (serving, url)
    }

    fn letter(url: String) -> Letter {
        let (event, body) = ("agent.ended".to_owned(), "{}".to_owned());
        Letter { url, secret: Secret::new("whsec_1"), event, body }
    }

    fn delivery() -> DeliveryId {
        DeliveryId::new("whd_1")
    }
}
