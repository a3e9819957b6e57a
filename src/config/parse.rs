//! One small parser per kind of value. Each says what it wanted; none repeats a secret.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use axum::http::Uri;
use axum::http::uri::Authority;
use ipnet::IpNet;
use tracing::level_filters::LevelFilter;

use crate::privacy::Secret;

use super::{LogFormat, LogLevels};

/// An IP address and a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let wanted = "an IP address with a port, such as 127.0.0.1:8080 or [::1]:8080";
    text.trim().parse().map_err(|_| format!("`{text}` is not {wanted}"))
}

/// At least one address, with commas between them.
pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    text.split(',').map(address).collect()
}

/// Addresses, or `off` for none.
pub(super) fn addresses_or_off(text: &str) -> Result<Vec<SocketAddr>, String> {
    if text.trim().is_empty() || text.trim() == "off" { Ok(Vec::new()) } else { addresses(text) }
}

/// An IP address that others can reach.
pub(super) fn public_ip(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text.trim().parse().map_err(|_| format!("`{text}` is not an IP address"))?;
    if ip.is_unspecified() {
        return Err(format!("`{text}` names no machine"));
    }
    Ok(ip)
}

/// Where the store is. What lies there is the store's to find out.
pub(super) fn database(text: &str) -> Result<String, String> {
    let is_sqlite = text.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty());
    let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
    if is_sqlite || is_postgres {
        return Ok(text.to_owned());
    }
    Err("must be sqlite:PATH, sqlite::memory: or postgres://…".to_owned())
}

/// The address of an HTTP server, without a password: those have headers.
pub(super) fn http_address(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_plain = |rest: &str| {
        !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#".contains(&byte))
    };
    if rest.is_some_and(is_plain) {
        return Ok(text.to_owned());
    }
    Err("must be http://HOST:PORT or https://HOST, without a password".to_owned())
}

/// An API key.
pub(super) fn api_key(text: &str) -> Result<Secret, String> {
    let is_key = |rest: &str| !rest.is_empty() && rest.bytes().all(is_name_byte);
    if text.strip_prefix("ak_").is_some_and(is_key) {
        return Ok(Secret::new(text));
    }
    Err("must be ak_ and then letters, digits, _ or -".to_owned())
}

/// A bearer token.
pub(super) fn token(text: &str) -> Result<Secret, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Secret::new(text));
    }
    Err("must be printable ASCII without spaces".to_owned())
}

/// A name of ours: a profile, a voice.
pub(super) fn name(text: &str) -> Result<String, String> {
    if (1..=64).contains(&text.len()) && text.bytes().all(is_name_byte) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not a name of 1 to 64 letters, digits, _ or -"))
}

/// A word of someone else's, such as the name of a model.
pub(super) fn word(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not a word without spaces"))
}

/// How near the microphone is whose noise is to be taken out.
pub(super) fn noise_reduction(text: &str) -> Result<String, String> {
    match text {
        "near_field" | "far_field" => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is neither near_field nor far_field")),
    }
}

/// The address of a WebSocket server.
pub(super) fn websocket_url(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    if !matches!(uri.scheme_str(), Some("ws" | "wss")) {
        return Err(format!("`{text}` does not begin with wss:// or ws://"));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("holds a user or a password; name a variable in key_env instead".to_owned());
    }
    Ok(text.to_owned())
}

/// Networks as CIDR, or single addresses, with commas between them.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let network = |text: &str| {
        let single = || text.parse::<IpAddr>().map(IpNet::from);
        let wanted = || format!("`{text}` is not a network such as 10.0.0.0/8 or 2001:db8::/32");
        text.parse::<IpNet>().or_else(|_| single()).map_err(|_| wanted())
    };
    text.split(',').map(str::trim).map(network).collect()
}

/// STUN or TURN servers (RFC 7064, RFC 7065), at least one, with commas between them.
pub(super) fn ice_urls(
    schemes: &'static [&'static str],
) -> impl Fn(&str) -> Result<Vec<String>, String> {
    move |text| text.split(',').map(|url| ice_url(schemes, url.trim())).collect()
}

fn ice_url(schemes: &[&str], text: &str) -> Result<String, String> {
    let wanted = || format!("`{text}` is not {}:HOST:PORT", schemes.join(":HOST:PORT or "));
    let (scheme, rest) = text.split_once(':').ok_or_else(wanted)?;
    let (host, transport) = rest.split_once('?').unwrap_or((rest, "transport=udp"));
    let host: Authority = host.parse().map_err(|_| wanted())?;
    let behind_host = host.as_str().strip_prefix(host.host()).unwrap_or_default();
    let has_port = behind_host.is_empty() || host.port_u16().is_some();
    let is_whole = !host.host().is_empty() && !host.as_str().contains('@') && has_port;
    let is_known =
        schemes.contains(&scheme) && (transport == "transport=udp" || transport == "transport=tcp");
    (is_whole && is_known).then(|| text.to_owned()).ok_or_else(wanted)
}

/// A whole number within `range`.
pub(super) fn whole(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match text.trim().parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            Err(format!("`{text}` is not a whole number from {} to {}", range.start(), range.end()))
        }
    }
}

/// A number of milliseconds by which durations are told apart, or 0.
pub(super) fn step(text: &str) -> Result<u64, String> {
    let known = |ms: &u64| STEPS_MS.contains(ms);
    text.trim().parse().ok().filter(known).ok_or_else(|| {
        let known: Vec<_> = STEPS_MS.iter().map(ToString::to_string).collect();
        format!("`{text}` is none of {}", known.join(", "))
    })
}

/// Off, and bounds at which the gateway counts durations: it knows no others.
const STEPS_MS: [u64; 10] = [0, 1, 2, 5, 10, 20, 40, 60, 100, 250];

/// On or off.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// How log lines are written.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is neither text nor json")),
    }
}

/// `LEVEL` for callbridge itself, and `MODULE=LEVEL` for others, with commas.
pub(super) fn log_levels(text: &str) -> Result<LogLevels, String> {
    let mut levels = LogLevels::default();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            None => levels.own = log_level(part)?,
            Some((module, level)) => levels.modules.push((module.to_owned(), log_level(level)?)),
        }
    }
    Ok(levels)
}

fn log_level(text: &str) -> Result<LevelFilter, String> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(format!("`{text}` is none of off, error, warn, info, debug, trace")),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_addresses_stand_between_commas() {
        let parsed = addresses("10.0.0.1:5, [::1]:6").unwrap();
        assert_eq!(parsed.iter().map(SocketAddr::port).collect::<Vec<_>>(), [5, 6]);
        assert!(addresses("10.0.0.1:5,").is_err());
    }

    #[test]
    fn a_model_is_reached_by_websocket_and_without_a_password() {
        assert!(websocket_url("ws://localhost:9/v1/realtime?a=b").is_ok());
        assert!(websocket_url("https://api.example.com/v1").is_err());
        assert!(websocket_url("wss://").is_err());
        let refused = websocket_url("wss://me:hunter2@example.com").unwrap_err();
        assert!(!refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn a_network_may_be_one_address() {
        let parsed = networks("10.0.0.0/8, ::1").unwrap();
        assert_eq!(
            parsed.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.0/8", "::1/128"]
        );
        assert!(networks("10.0.0.0/33").unwrap_err().contains("10.0.0.0/33"));
        assert!(networks("proxy.example").is_err());
    }

    #[test]
    fn a_server_for_ice_has_a_host_and_perhaps_a_port_and_a_transport() {
        let turn = ice_urls(&["turn", "turns"]);
        let several = "turn:a.example, turns:[::1]:5349?transport=tcp";
        assert_eq!(turn(several).unwrap(), ["turn:a.example", "turns:[::1]:5349?transport=tcp"]);
        for wrong in ["a.example", "stun:a.example", "turn:", "turn:a:b", "turn://a", "turn:u@a"] {
            assert!(turn(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
        assert!(turn("turn:a?transport=sctp").is_err());
    }

    #[test]
    fn a_refused_secret_is_not_repeated() {
        assert!(!api_key("hunter2").unwrap_err().contains("hunter2"));
        assert!(!token("hunter 2").unwrap_err().contains("hunter"));
    }

    #[test]
    fn a_bare_level_is_ours_and_a_named_one_is_the_modules() {
        let levels = log_levels("debug, sqlx=off").unwrap();
        assert_eq!(levels.own, LevelFilter::DEBUG);
        assert_eq!(levels.modules, [("sqlx".to_owned(), LevelFilter::OFF)]);
        assert!(log_levels("inof").unwrap_err().contains("inof"));
    }

    #[test]
    fn a_number_out_of_range_is_told_the_range() {
        assert_eq!(whole(1..=9)("9"), Ok(9));
        assert_eq!(whole(1..=9)("10").unwrap_err(), "`10` is not a whole number from 1 to 9");
        assert!(whole(1..=9)("-1").is_err());
    }
}
