//! Opening the WebSocket to a Realtime server.

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::agent::{Medium, ModelFailure};
use crate::models::ModelProfile;
use crate::sys::tls;

/// The socket, with or without TLS.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects, within the profile's deadline. The failure names the place and never the key.
pub(super) async fn connect(
    profile: &ModelProfile,
    medium: Medium,
) -> Result<Socket, ModelFailure> {
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
        Ok(Err(Error::Http(response))) => format!("refused with HTTP {}", response.status()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no connection within {} ms", limit.as_millis()),
    };
    Err(ModelFailure::Unavailable(format!("{place}: {reason}")))
}

fn request(profile: &ModelProfile) -> Result<Request, ModelFailure> {
    let mut request = url_with_model(&profile.url, &profile.model)
        .into_client_request()
        .map_err(|error| ModelFailure::Unavailable(format!("the model's URL: {error}")))?;
    if let Some(key) = &profile.key {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| {
                ModelFailure::Unavailable("the model's key cannot be sent in a header".to_owned())
            })?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

/// The URL with the model in its query, unless it names one already.
fn url_with_model(url: &str, model: &str) -> String {
    let query = url.split_once('?').map(|(_, query)| query);
    let is_named =
        query.is_some_and(|query| query.split('&').any(|pair| pair.starts_with("model=")));
    if model.is_empty() || is_named {
        return url.to_owned();
    }
    let separator = if query.is_some() { '&' } else { '?' };
    format!("{url}{separator}model={}", percent_encoded(model))
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

/// What one read may take: a delta of a second of speech is 64 kB.
const SPEECH_BUFFER_BYTES: usize = 64 * 1024;

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
            assert_eq!(url_with_model(url, model), expected);
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
        assert_eq!(failure.code(), "MODEL_UNAVAILABLE");
    }
}
