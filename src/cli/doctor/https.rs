//! Can others read along? The certificate of HTTPS, or what stands in its place: a proxy that is
//! believed.

use std::net::SocketAddr;

use ipnet::IpNet;
use x509_parser::parse_x509_certificate;

use super::finding::Finding;
use crate::app::tls_files;
use crate::config::Config;
use crate::sys::clock;

/// Whether HTTPS can be served, where it is wanted, and whether it should be.
pub(super) async fn tls(config: &Config) -> Option<Finding> {
    let Some(files) = tls_files(&config.http) else {
        return judge_plain(config.listen, &config.http.trusted_proxies);
    };
    Some(match files.check().await {
        Ok(certificate) => {
            let shown = files.certificate.display().to_string();
            judge_certificate(&shown, validity(&certificate), clock::unix_ms() / 1000)
        }
        Err(error) => {
            let remedy = "name a certificate and its own key, in PEM, in tls.certificate and \
                          tls.key, readable for the gateway's user";
            Finding::failed(TLS, error.to_string(), remedy)
        }
    })
}

/// Whether proxies that are believed are somebody's own.
pub(super) fn proxies(config: &Config) -> Option<Finding> {
    let trusted = &config.http.trusted_proxies;
    if trusted.is_empty() {
        return None;
    }
    let shown: Vec<String> = trusted.iter().map(ToString::to_string).collect();
    let shown = shown.join(", ");
    Some(if trusted.iter().any(|network| network.prefix_len() == 0) {
        let seen = format!("{shown} is everybody: anyone may say whom they ask for");
        let remedy = "name the networks of your own proxies in http.trusted_proxies";
        Finding::warning(PROXIES, seen, remedy)
    } else {
        Finding::fine(PROXIES, format!("believed from {shown} alone"))
    })
}

/// From when until when a certificate holds, in seconds since the Unix epoch.
type Validity = (i64, i64);

fn validity(der: &[u8]) -> Option<Validity> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// The two files fit; how long for?
fn judge_certificate(shown: &str, validity: Option<Validity>, now: u64) -> Finding {
    let Some((from, until)) = validity else {
        let seen = format!("{shown} and its key fit, and how long for cannot be read");
        return Finding::warning(TLS, seen, "have the certificate made anew");
    };
    let now = now.cast_signed();
    let days = (until - now).div_euclid(DAY);
    if until < now {
        let seen = format!("{shown} is over since {} days", (now - until) / DAY);
        return Finding::failed(TLS, seen, RENEWAL);
    }
    if now < from {
        let seen = format!("{shown} does not hold yet");
        return Finding::failed(TLS, seen, "see whether this machine's clock is right");
    }
    if days < DAYS_MIN {
        return Finding::warning(TLS, format!("{shown} ends in {days} days"), RENEWAL);
    }
    Finding::fine(TLS, format!("{shown} and its key fit, for {days} days"))
}

/// Without a certificate: nothing on loopback, and elsewhere only behind a proxy that has one.
fn judge_plain(listen: SocketAddr, trusted: &[IpNet]) -> Option<Finding> {
    if listen.ip().is_loopback() || !trusted.is_empty() {
        return None;
    }
    let seen = format!(
        "{listen} speaks plain HTTP: keys and tokens can be read on the way, and browsers \
         elsewhere give it no microphone"
    );
    let remedy = "set tls.certificate and tls.key, or name the TLS proxy before it in \
                  http.trusted_proxies";
    Some(Finding::warning(TLS, seen, remedy))
}

const TLS: &str = "tls";
const PROXIES: &str = "proxies";
const RENEWAL: &str = "renew it; the gateway takes new files by itself";

/// In seconds.
const DAY: i64 = 24 * 3600;

/// What is renewed by itself is so a month before.
const DAYS_MIN: i64 = 14;

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_certificate_is_judged_by_the_days_it_has() {
        let now = 1_800_000_000;
        let judged = |from: i64, until: i64| {
            let at = |days: i64| now + days * DAY;
            judge_certificate("c.pem", Some((at(from), at(until))), now.cast_unsigned())
        };
        assert_eq!(
            judged(-1, 90).line(),
            "ok       tls              c.pem and its key fit, for 90 days"
        );
        assert_eq!(judged(-60, 14).state, State::Fine);
        let soon = judged(-60, 13);
        assert!(matches!(soon.state, State::Warning { .. }), "{soon:?}");
        assert!(soon.line().contains("ends in 13 days -> renew it"), "{soon:?}");
        let over = judged(-90, -2);
        assert!(over.is_failed() && over.line().contains("over since 2 days"), "{over:?}");
        let early = judged(1, 90);
        assert!(early.is_failed() && early.line().contains("clock"), "{early:?}");
    }

    #[test]
    fn a_certificate_says_how_long_it_holds() {
        let made = rcgen::generate_simple_self_signed(["call.example".to_owned()]).expect("made");
        let (from, until) = validity(made.cert.der()).expect("its times");
        assert!(from < until && until > 4_000_000_000, "{from} to {until}");
        assert_eq!(validity(b"no certificate"), None);
    }

    #[test]
    fn plain_http_is_for_loopback_and_for_proxies() {
        let plain = |listen: &str, proxies: &[IpNet]| {
            judge_plain(listen.parse().expect("an address"), proxies)
        };
        let proxy = "10.0.0.0/8".parse().expect("a network");
        assert_eq!(plain("127.0.0.1:8080", &[]), None);
        assert_eq!(plain("0.0.0.0:8080", &[proxy]), None);
        let open = plain("203.0.113.7:8080", &[]).expect("a warning");
        assert!(open.line().contains("speaks plain HTTP"), "{open:?}");
    }
}
