//! The way to a TURN server: by UDP, by TCP, or by TLS, as its URL says (RFC 7065).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rtc::stun::message::Message;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::relays::Trouble;
use crate::sys::tls;

/// Where a server is, and how it is spoken to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    host: String,
    port: u16,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Udp,
    Tcp,
    Tls,
    Dtls,
}

impl Place {
    /// What a URL says that the settings have let through.
    pub(super) fn of(url: &str) -> Self {
        let (scheme, rest) = url.split_once(':').unwrap_or(("turn", url));
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let manner = match (scheme, query) {
            ("turns", "transport=udp") => Manner::Dtls,
            ("turns", _) => Manner::Tls,
            (_, "transport=tcp") => Manner::Tcp,
            _ => Manner::Udp,
        };
        let usual = if scheme == "turns" { 5349 } else { 3478 };
        // The colons of an IPv6 address stand in brackets.
        let after_host = authority.rfind(']').map_or(0, |end| end + 1);
        let colon = authority[after_host..].rfind(':').map(|at| after_host + at);
        let (host, port) =
            colon.map_or((authority, ""), |at| (&authority[..at], &authority[at + 1..]));
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { host, port: port.parse().unwrap_or(usual), manner }
    }
}

/// A way that is open.
pub(super) enum Line {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Line {
    pub(super) async fn open(place: &Place) -> Result<Self, Trouble> {
        let found = lookup_host((place.host.as_str(), place.port)).await;
        let at = found.map_err(Trouble::Unknown)?.next();
        let at = at.ok_or_else(|| Trouble::Unknown(io::ErrorKind::NotFound.into()))?;
        Ok(match place.manner {
            Manner::Udp => Self::Udp(udp(at).await?),
            Manner::Tcp => Self::Tcp(TcpStream::connect(at).await?),
            Manner::Tls => {
                tls::choose_cryptography();
                // As browsers do, it trusts whom the machine trusts.
                let config = ClientConfig::with_platform_verifier().map_err(io::Error::other)?;
                let name = ServerName::try_from(place.host.clone()).map_err(io::Error::other)?;
                let connector = TlsConnector::from(Arc::new(config));
                let stream = TcpStream::connect(at).await?;
                let stream = connector.connect(name, stream).await;
                Self::Tls(Box::new(stream.map_err(Trouble::Untrusted)?))
            }
            Manner::Dtls => return Err(Trouble::Unspoken),
        })
    }

    /// Sends a question and waits for its answer, for as long as the caller cares to.
    pub(super) async fn ask(&mut self, question: &Message) -> Result<Message, Trouble> {
        match self {
            Self::Udp(socket) => ask_again_and_again(socket, question).await,
            Self::Tcp(stream) => ask_once(stream, question).await,
            Self::Tls(stream) => ask_once(stream, question).await,
        }
    }
}

async fn udp(to: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// Datagrams get lost, so what is not answered is sent anew.
async fn ask_again_and_again(socket: &UdpSocket, question: &Message) -> Result<Message, Trouble> {
    loop {
        socket.send(&question.raw).await?;
        if let Ok(answer) = timeout(AGAIN, answered(socket, question)).await {
            return answer;
        }
    }
}

async fn answered(socket: &UdpSocket, question: &Message) -> Result<Message, Trouble> {
    let mut datagram = [0; 1500];
    loop {
        let length = socket.recv(&mut datagram).await?;
        let mut answer = Message::new();
        answer.unmarshal_binary(&datagram[..length])?;
        if answer.transaction_id == question.transaction_id {
            return Ok(answer);
        }
    }
}

/// On a stream each message follows the one before, and its head has its length (RFC 8489, 6.2.2).
async fn ask_once(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    question: &Message,
) -> Result<Message, Trouble> {
    stream.write_all(&question.raw).await?;
    stream.flush().await?;
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let mut whole = head.to_vec();
    whole.resize(HEAD + length, 0);
    stream.read_exact(&mut whole[HEAD..]).await?;
    let mut answer = Message::new();
    answer.unmarshal_binary(&whole)?;
    Ok(answer)
}

const HEAD: usize = 20;

/// When a datagram counts as lost (RFC 8489, section 6.2.1).
const AGAIN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let place = |host: &str, port, manner| Place { host: host.to_owned(), port, manner };
        for (url, wanted) in [
            ("turn:t.example", place("t.example", 3478, Manner::Udp)),
            ("turn:t.example:80?transport=udp", place("t.example", 80, Manner::Udp)),
            ("turn:192.0.2.1:443?transport=tcp", place("192.0.2.1", 443, Manner::Tcp)),
            ("turns:t.example", place("t.example", 5349, Manner::Tls)),
            ("turns:[2001:db8::1]:443?transport=tcp", place("2001:db8::1", 443, Manner::Tls)),
            ("turn:[2001:db8::1]", place("2001:db8::1", 3478, Manner::Udp)),
            ("turns:t.example?transport=udp", place("t.example", 5349, Manner::Dtls)),
        ] {
            assert_eq!(Place::of(url), wanted, "{url}");
        }
    }
}
