//! Opening the WebSocket to a Realtime server.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, RETRY_AFTER};
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Response, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::ports::ConnectError;
use crate::agent::Medium;
use crate::models::ModelProfile;
use crate::models::dialect::KeyHeader;
use crate::sys::tls;

/// The socket, with or without TLS.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects, within the profile's deadline. The failure names the place and never the key.
pub(super) async fn connect(
    profile: &ModelProfile,
    medium: Medium,
) -> Result<Socket, ConnectError> {
    tls::choose_cryptography();
    let request = request(profile)?;
    let place = place(request.uri());
    let read_at_once = match medium {
        Medium::Voice => SPEECH_BUFFER_BYTES,
        Medium::Text => TEXT_BUFFER_BYTES,
    };
    let config = WebSocketConfig::default().read_buffer_size(read_at_once);
    let connecting = connect_async_with_config(request, Some(config), true);
    let limit = profile.deadlines.connect;
    let reason = match tokio::time::timeout(limit, connecting).await {
        Ok(Ok((socket, _))) => return Ok(socket),
        Ok(Err(Error::Http(response))) => {
            let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
            return Err(ConnectError::Refused { place, status, retry_after });
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no connection within {} ms", limit.as_millis()),
    };
    Err(ConnectError::Unreachable(format!("{place}: {reason}")))
}

/// How long the server wants to be left alone (RFC 9110, section 10.2.3), if it says so in
/// seconds.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The request for a socket, with model and key where the dialect has them.
pub(super) fn request(profile: &ModelProfile) -> Result<Request, ConnectError> {
    let mut request = url_with_model(profile)
        .into_client_request()
        .map_err(|error| ConnectError::Invalid(format!("the model's URL: {error}")))?;
    if let Some(key) = &profile.key {
        let (name, value) = match profile.dialect.key {
            KeyHeader::Bearer => (AUTHORIZATION, format!("Bearer {}", key.expose())),
            KeyHeader::ApiKey => (API_KEY, key.expose().to_owned()),
        };
        let mut value = HeaderValue::from_str(&value).map_err(|_| {
            ConnectError::Invalid("the model's key cannot be sent in a header".to_owned())
        })?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// The URL with the model in its query, unless it names one already, under whichever name.
fn url_with_model(profile: &ModelProfile) -> String {
    let ModelProfile { url, model, dialect, .. } = profile;
    let query = url.split_once('?').map(|(_, query)| query);
    let names_it = |pair: &str| pair.starts_with("model=") || pair.starts_with("deployment=");
    let is_named = query.is_some_and(|query| query.split('&').any(names_it));
    if model.is_empty() || is_named {
        return url.to_owned();
    }
    let separator = if query.is_some() { '&' } else { '?' };
    format!("{url}{separator}{}={}", dialect.query, percent_encoded(model))
}

/// RFC 3986, section 2.3: what is not unreserved is written in hexadecimal.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Where the server is, without the query, which may hold a key.
fn place(uri: &Uri) -> String {
    let host = uri.host().unwrap_or("no host");
    uri.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The header of a key that is no bearer's.
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// What one read may take: a delta of 100 ms of speech is 6.5 kB, one of a second takes four reads.
/// It is filled with zeros before each read, and held for the length of the call.
const SPEECH_BUFFER_BYTES: usize = 16 * 1024;

/// A delta of words is far smaller, and there are many more sessions.
const TEXT_BUFFER_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::Secret;

    #[test]
    fn the_model_goes_into_the_query_once() {
        let urls = [
            (
                "wss://host/v1/realtime",
                "gpt-realtime-2.1",
                "wss://host/v1/realtime?model=gpt-realtime-2.1",
            ),
            ("ws://host/?a=1", "my model", "ws://host/?a=1&model=my%20model"),
            ("ws://host/?model=theirs", "ours", "ws://host/?model=theirs"),
            ("ws://host/", "", "ws://host/"),
        ];
        for (url, model, expected) in urls {
            let profile = ModelProfile { model: model.into(), ..ModelProfile::new("test", url) };
            assert_eq!(url_with_model(&profile), expected);
        }
    }

    #[test]
    fn the_key_is_a_bearer_that_no_debug_output_shows() {
        let mut profile = ModelProfile::new("test", "wss://host/v1/realtime");
        profile.key = Some(Secret::new("sk-123"));
        let request = request(&profile).unwrap();
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer sk-123");
        assert!(!format!("{request:?}").contains("sk-123"));
    }

    #[test]
    fn a_url_that_is_none_is_told() {
        let failure = request(&ModelProfile::new("test", "not a url")).unwrap_err();
        assert!(matches!(failure, ConnectError::Invalid(_)), "{failure}");
    }
}
