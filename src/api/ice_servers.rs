//! The STUN and TURN servers that callers are told of: `Link` headers (RFC 9725, section 4.6).
//!
//! A TURN server asks for a name and a password. Both are made here, with a secret that only the
//! server and the gateway know, so that neither has to ask the other: the name is the instant at
//! which it ends and who it is for, the password the HMAC of the name
//! (draft-uberti-behave-turn-rest-00, section 2.2; coturn's `use-auth-secret`).

use std::time::Duration;

use axum::http::HeaderValue;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use crate::privacy::Secret;

/// Servers that help callers to find a way to the gateway.
#[derive(Clone, Debug, Default)]
pub struct IceServers {
    /// URLs of STUN servers (RFC 7064).
    pub stun: Vec<String>,
    /// What relays for callers who find no other way.
    pub turn: Option<TurnServers>,
}

/// TURN servers that share a secret with the gateway.
#[derive(Clone, Debug)]
pub struct TurnServers {
    /// Their URLs (RFC 7065).
    pub urls: Vec<String>,
    /// What passwords are made with.
    pub secret: Secret,
    /// How long a password opens anything.
    pub ttl: Duration,
}

impl IceServers {
    /// The servers as values of `Link`, with passwords for `who`, made at `now_ms` since the Unix
    /// epoch. `who` has neither quotes nor spaces, and names nobody: the servers log it.
    pub(super) fn links(&self, who: &str, now_ms: u64) -> Vec<HeaderValue> {
        let stun = self.stun.iter().map(|url| format!(r#"<{url}>; rel="ice-server""#));
        let turn = self.turn.iter().flat_map(|turn| turn.links(who, now_ms));
        stun.chain(turn).filter_map(private).collect()
    }
}

impl TurnServers {
    /// A name for `who`, made at `now_ms` since the Unix epoch, and the password that goes with it.
    #[must_use]
    pub fn account(&self, who: &str, now_ms: u64) -> (String, Secret) {
        let name = format!("{}:{who}", now_ms / 1000 + self.ttl.as_secs());
        let password = password(&self.secret, &name);
        (name, password)
    }

    fn links(&self, who: &str, now_ms: u64) -> Vec<String> {
        let (name, password) = self.account(who, now_ms);
        let link = |url: &String| {
            format!(
                r#"<{url}>; rel="ice-server"; username="{name}"; credential="{}"; "#,
                password.expose()
            ) + r#"credential-type="password""#
        };
        self.urls.iter().map(link).collect()
    }
}

/// What a server that has the same secret expects of whoever has this name.
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
fn password(secret: &Secret, name: &str) -> Secret {
    let key = secret.expose().as_bytes();
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("a key of any length");
    mac.update(name.as_bytes());
    Secret::new(base64_simd::STANDARD.encode_to_string(mac.finalize().into_bytes()))
}

/// A header that is not to be shown. The settings have seen to it that there is nothing in it
/// which no header may have.
fn private(link: String) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(link).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_coturn_reckons() {
        // printf 1700003600:p_1 | openssl dgst -sha1 -hmac north -binary | base64
        let servers = IceServers {
            stun: vec!["stun:s.example".into()],
            turn: Some(TurnServers {
                urls: vec!["turn:t.example".into(), "turns:t.example:443?transport=tcp".into()],
                secret: Secret::new("north"),
                ttl: Duration::from_hours(1),
            }),
        };
        let links = servers.links("p_1", 1_700_000_000_999);
        let account = r#"rel="ice-server"; username="1700003600:p_1"; "#.to_owned()
            + r#"credential="IdCNgzldQA2eeP1zXEA+X2KPSPQ="; credential-type="password""#;
        let wanted = [
            r#"<stun:s.example>; rel="ice-server""#.to_owned(),
            format!("<turn:t.example>; {account}"),
            format!("<turns:t.example:443?transport=tcp>; {account}"),
        ];
        assert_eq!(links, wanted);
        assert!(links.iter().all(HeaderValue::is_sensitive));
    }

    #[test]
    fn without_servers_nobody_is_told_of_any() {
        assert!(IceServers::default().links("p_1", 0).is_empty());
    }
}
