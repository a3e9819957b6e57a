//! Do the TURN servers that callers are told of relay for those whom the gateway sends? Each is
//! asked for a relay as a browser asks (RFC 8656, section 7), and it is given back at once.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rtc::crypto::default_provider;
use rtc::shared::error::Error as StunError;
use rtc::stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use rtc::stun::error_code::{CODE_UNAUTHORIZED, ErrorCodeAttribute};
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter as _, METHOD_ALLOCATE, METHOD_REFRESH, Message,
    MessageType, Method, Setter,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::turn::proto::PROTO_UDP;
use rtc::turn::proto::lifetime::Lifetime;
use rtc::turn::proto::relayaddr::RelayedAddress;
use rtc::turn::proto::reqtrans::RequestedTransport;
use thiserror::Error;

use super::finding::Finding;
use super::turn_line::{Line, Place};
use crate::app::turn_servers;
use crate::config::IceConfig;
use crate::privacy::Secret;
use crate::sys::clock;

/// What each TURN server says to who asks it for a relay.
pub(super) async fn all(config: &IceConfig) -> Vec<Finding> {
    let Some(servers) = turn_servers(config) else { return Vec::new() };
    let mut findings = Vec::new();
    for url in &servers.urls {
        let (name, password) = servers.account("doctor", clock::unix_ms());
        let account = Account { name, password };
        let asked = tokio::time::timeout(DEADLINE, relay(url, &account)).await;
        findings.push(judge(url, asked.unwrap_or(Err(Trouble::Silent))));
    }
    findings
}

/// What came of the question for a relay.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// A relay at this address.
    Relay(SocketAddr),
    /// The server asks nobody who they are.
    Open,
    /// No relay, with the server's code and words.
    Refused(u16, String),
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// Nothing came in time.
    #[error("does not answer")]
    Silent,
    /// Its name leads nowhere.
    #[error("has no address: {0}")]
    Unknown(io::Error),
    /// There is no connection.
    #[error("cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    /// It shows no certificate that is trusted here.
    #[error("is not trusted: {0}")]
    Untrusted(io::Error),
    /// What came is no TURN.
    #[error("answers, but not as a TURN server does: {0}")]
    Strange(#[from] StunError),
    /// It wants DTLS.
    #[error("is not asked: the doctor speaks no DTLS")]
    Unspoken,
}

fn judge(url: &str, outcome: Result<Answer, Trouble>) -> Finding {
    match outcome {
        Ok(Answer::Relay(at)) => Finding::fine(TURN, format!("{url} relays, from {}", at.ip())),
        Ok(Answer::Open) => {
            let seen = format!("{url} relays for everybody, and asks for no password");
            Finding::failed(TURN, seen, "have it ask: coturn's use-auth-secret")
        }
        Ok(Answer::Refused(code @ (401 | 441), words)) => {
            let remedy = "let turn.secret be its static-auth-secret, and both clocks be right";
            Finding::failed(TURN, format!("{url} refuses us: {code} {words}"), remedy)
        }
        Ok(Answer::Refused(code, words)) => {
            let seen = format!("{url} has no relay for us: {code} {words}");
            Finding::warning(TURN, seen, "its log says more; it may have too many callers")
        }
        Err(trouble @ (Trouble::Silent | Trouble::Unreachable(_))) => {
            let remedy = "see whether it runs, and which ports a firewall lets through; a server \
                          behind the same NAT may answer callers and not this machine";
            Finding::warning(TURN, format!("{url} {trouble}"), remedy)
        }
        Err(trouble @ Trouble::Unspoken) => {
            Finding::warning(TURN, format!("{url} {trouble}"), "try it with a browser")
        }
        Err(trouble @ Trouble::Untrusted(_)) => {
            let remedy = "give it a certificate for this name, of an authority that callers trust";
            Finding::failed(TURN, format!("{url} {trouble}"), remedy)
        }
        Err(trouble @ (Trouble::Unknown(_) | Trouble::Strange(_))) => {
            let remedy = "name a TURN server in turn.urls, such as turn:HOST:3478?transport=udp";
            Finding::failed(TURN, format!("{url} {trouble}"), remedy)
        }
    }
}

/// Who asks.
struct Account {
    name: String,
    password: Secret,
}

/// Asks for a relay, says who asks when told to, and gives it back.
async fn relay(url: &str, account: &Account) -> Result<Answer, Trouble> {
    let mut line = Line::open(&Place::of(url)).await?;
    let first = line.ask(&message(METHOD_ALLOCATE, &[&TRANSPORT])?).await?;
    match refusal(&first)? {
        None => return Ok(Answer::Open),
        Some((code, _)) if code == CODE_UNAUTHORIZED.0 => {}
        Some((code, words)) => return Ok(Answer::Refused(code, words)),
    }
    let realm = TextAttribute::get_from_as(&first, ATTR_REALM)?;
    let nonce = TextAttribute::get_from_as(&first, ATTR_NONCE)?;
    let name = TextAttribute::new(ATTR_USERNAME, account.name.clone());
    let provider = default_provider().map_err(|error| StunError::Crypto(error.to_string()))?;
    let proof = MessageIntegrity::new_long_term_integrity_with_provider(
        account.name.clone(),
        realm.text.clone(),
        account.password.expose().to_owned(),
        provider.crypto(),
    )?;
    let signed =
        |method, wish: &dyn Setter| message(method, &[wish, &name, &realm, &nonce, &proof]);
    let second = line.ask(&signed(METHOD_ALLOCATE, &TRANSPORT)?).await?;
    if let Some((code, words)) = refusal(&second)? {
        return Ok(Answer::Refused(code, words));
    }
    let mut relayed = RelayedAddress::default();
    relayed.get_from(&second)?;
    // A relay that lives for no time is given back (RFC 8656, section 7.4).
    line.ask(&signed(METHOD_REFRESH, &Lifetime(Duration::ZERO))?).await?;
    Ok(Answer::Relay(SocketAddr::new(relayed.ip, relayed.port)))
}

fn message(method: Method, attributes: &[&dyn Setter]) -> Result<Message, StunError> {
    let mut message = Message::new();
    message.set_type(MessageType::new(method, CLASS_REQUEST));
    message.new_transaction_id()?;
    message.write_header();
    attributes.iter().try_for_each(|attribute| attribute.add_to(&mut message))?;
    Ok(message)
}

/// The code of an answer that is a refusal, and its words.
fn refusal(answer: &Message) -> Result<Option<(u16, String)>, StunError> {
    if answer.typ.class == CLASS_SUCCESS_RESPONSE {
        return Ok(None);
    }
    let mut error = ErrorCodeAttribute::default();
    error.get_from(answer)?;
    Ok(Some((error.code.0, String::from_utf8_lossy(&error.reason).into_owned())))
}

const TURN: &str = "turn";

/// What a relay speaks with its peers: the media of calls.
const TRANSPORT: RequestedTransport = RequestedTransport { protocol: PROTO_UDP };

/// How long a server may take to give a relay: three round trips, and one or two lost datagrams.
const DEADLINE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::super::finding::State;
    use super::*;

    const URL: &str = "turn:t.example:3478";

    #[test]
    fn every_outcome_says_what_to_do() {
        let at = "203.0.113.8:49160".parse().expect("an address");
        let given = judge(URL, Ok(Answer::Relay(at)));
        assert_eq!(
            given.line(),
            format!("ok       turn             {URL} relays, from 203.0.113.8")
        );
        let wrong = judge(URL, Ok(Answer::Refused(401, "Unauthorized".into())));
        assert!(wrong.is_failed() && wrong.line().contains("turn.secret"), "{wrong:?}");
        assert!(judge(URL, Ok(Answer::Open)).is_failed());
        let full = judge(URL, Ok(Answer::Refused(486, "Quota".into())));
        assert!(matches!(full.state, State::Warning { .. }), "{full:?}");
        let silent = judge(URL, Err(Trouble::Silent));
        assert!(silent.line().contains("does not answer -> see whether it runs"), "{silent:?}");
    }

    #[tokio::test]
    async fn a_server_that_relays_for_everybody_is_told() {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("turn:{}", server.local_addr().expect("an address"));
        let answering = async {
            let mut datagram = [0; 1500];
            let (length, from) = server.recv_from(&mut datagram).await.expect("a question");
            // The same transaction, with the class of a success (RFC 8489, section 5).
            datagram[..2].copy_from_slice(&0x0103_u16.to_be_bytes());
            server.send_to(&datagram[..length], from).await.expect("sent");
        };
        let account = Account { name: "1:doctor".into(), password: Secret::new("x") };
        let (outcome, ()) = tokio::join!(relay(&url, &account), answering);
        assert_eq!(outcome.expect("an answer"), Answer::Open);
    }
}
