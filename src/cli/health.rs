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
    let url = match (&args.url, Config::load(sources)) {
        (Some(url), _) => url.clone(),
        (None, Ok(config)) => url_of(config.listen),
        (None, Err(mistakes)) => {
            print::complain(&mistakes.to_string());
            return ExitCode::FAILURE;
        }
    };
    match ask(&url).await {
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

/// Whether the gateway at `url` lives.
pub(super) async fn ask(url: &str) -> anyhow::Result<()> {
    tls::choose_cryptography();
    // A proxy that the environment names is for other machines.
    let http = Client::builder().timeout(DEADLINE).no_proxy().build()?;
    let place = format!("{}/healthz", url.trim_end_matches('/'));
    let answer = http.get(&place).send().await;
    let answer = answer.with_context(|| format!("{place} does not answer"))?;
    let status = answer.status();
    ensure!(status.is_success(), "{place} answers {status}");
    let body: Value = answer.json().await.with_context(|| format!("{place} is no gateway"))?;
    ensure!(body["status"] == "ok", "{place} is no gateway");
    Ok(())
}

/// Where a gateway that listens there can be asked from this machine.
pub(super) fn url_of(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

/// How long the gateway may take to answer.
const DEADLINE: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_asked_on_loopback() {
        let url = |listen: &str| url_of(listen.parse().expect("an address"));
        assert_eq!(url("0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(url("[::]:80"), "http://[::1]:80");
        assert_eq!(url("10.0.0.5:8080"), "http://10.0.0.5:8080");
    }
}
