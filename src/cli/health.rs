//! `callbridge health`: asks a gateway whether it lives, for supervisors that have no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::Client;
use serde_json::Value;

use super::print;
use crate::config::{Config, Sources};
use crate::sys::tls;

/// What `callbridge health` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The gateway, such as `http://127.0.0.1:8080`; unless given, the one of these settings.
    #[arg(value_name = "URL")]
    url: Option<String>,
}

/// The code is 0 if the gateway lives and 1 if not: supervisors know no third.
pub(super) async fn run(sources: &Sources, args: &Args) -> ExitCode {
    let (url, trust) = match (&args.url, Config::load(sources)) {
        (Some(url), _) => (url.clone(), Trust::Authorities),
        (None, Ok(config)) => (url_of(&config), Trust::Anybody),
        (None, Err(mistakes)) => {
            print::complain(&mistakes.to_string());
            return ExitCode::FAILURE;
        }
    };
    match ask(&url, trust).await {
        Ok(()) => {
            print::line("ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            print::complain(&format!("callbridge: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whose certificate will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// One for this host, by an authority that the machine trusts.
    Authorities,
    /// Any: certificates name a host, and a gateway on this machine is asked by its address. The
    /// question holds no secret.
    Anybody,
}

/// Whether the gateway at `url` lives.
pub(super) async fn ask(url: &str, trust: Trust) -> anyhow::Result<()> {
    tls::choose_cryptography();
    // A proxy that the environment names is for other machines.
    let http = Client::builder().timeout(DEADLINE).no_proxy();
    let http = http.tls_danger_accept_invalid_certs(trust == Trust::Anybody).build()?;
    let place = format!("{}/healthz", url.trim_end_matches('/'));
    let answer = http.get(&place).send().await;
    let answer = answer.with_context(|| format!("{place} does not answer"))?;
    let status = answer.status();
    ensure!(status.is_success(), "{place} answers {status}");
    let body: Value = answer.json().await.with_context(|| format!("{place} is no gateway"))?;
    ensure!(body["status"] == "ok", "{place} is no gateway");
    Ok(())
}

/// Where a gateway with these settings can be asked from this machine.
pub(super) fn url_of(config: &Config) -> String {
    format!("{}://{}", config.http.scheme(), near(config.listen))
}

fn near(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// How long the gateway may take to answer.
const DEADLINE: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_asked_on_loopback() {
        let near = |listen: &str| near(listen.parse().expect("an address")).to_string();
        assert_eq!(near("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(near("[::]:80"), "[::1]:80");
        assert_eq!(near("10.0.0.5:8080"), "10.0.0.5:8080");
    }
}
