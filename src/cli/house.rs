//! A gateway of a command's own: free loopback ports, a throw-away database, a key nobody knows.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::app::{App, Minds};
use crate::config::{Config, HttpConfig};
use crate::privacy::Secret;
use crate::runtime::Gateway;
use crate::sys::tasks::{self, Task};
use crate::sys::{entropy, tls};

/// A gateway that lasts as long as its command, and its REST API.
#[derive(Debug)]
pub(super) struct House {
    at: SocketAddr,
    key: Secret,
    http: Client,
    gateway: Gateway,
    stop: oneshot::Sender<()>,
    running: Task<anyhow::Result<()>>,
    /// The database's folder, which goes when the gateway does.
    folder: TempDir,
}

impl House {
    /// Starts the gateway with these minds.
    pub(super) async fn open(settings: Config, minds: Minds) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("callbridge-")?;
        let key = Secret::new(format!("ak_{:032x}", entropy::bits()));
        let config = Config {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            media_listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            media_tcp_listen: None,
            public_ip: None,
            // Its own client asks it by HTTP.
            http: HttpConfig { tls: None, trusted_proxies: Vec::new() },
            database: format!("sqlite:{}", folder.path().join("house.db").display()),
            bootstrap_key: Some(key.clone()),
            ..settings
        };
        let app = App::build(&config, minds).await?;
        let (at, gateway) = (app.address()?, app.gateway().clone());
        let (stop, stopped) = oneshot::channel();
        let running = tasks::spawn(
            "gateway",
            app.run(async move {
                // A dropped sender stops it as well.
                let _ = stopped.await;
            }),
        );
        tls::choose_cryptography();
        let http = Client::builder().timeout(REQUEST_TIMEOUT).build()?;
        Ok(Self { at, key, http, gateway, stop, running, folder })
    }

    pub(super) const fn at(&self) -> SocketAddr {
        self.at
    }

    pub(super) fn key(&self) -> &str {
        self.key.expose()
    }

    /// Creates an agent that lives for so long; its id.
    pub(super) async fn create_agent(
        &self,
        ttl: Duration,
        metadata: &Value,
    ) -> anyhow::Result<String> {
        let spec = json!({
            "name": "Ada",
            "agentType": "HUMA-0.1",
            "ttlSeconds": ttl.as_secs(),
            "metadata": metadata,
        });
        let request = self.http.post(self.url("")).json(&spec);
        let agent: Value = self.send(request, StatusCode::CREATED).await?.json().await?;
        Ok(agent["id"].as_str().context("an agent without an id")?.to_owned())
    }

    pub(super) async fn delete_agent(&self, id: &str) -> anyhow::Result<()> {
        let request = self.http.delete(self.url(&format!("/{id}")));
        self.send(request, StatusCode::NO_CONTENT).await.map(drop)
    }

    /// Fails if anything of an agent can still be found.
    pub(super) async fn show_nothing_is_left(&self, id: &str) -> anyhow::Result<()> {
        let read = self.http.get(self.url(&format!("/{id}")));
        self.send(read, StatusCode::NOT_FOUND).await?;
        ensure!(self.gateway.live_agents() == 0, "an agent's task is left");
        let rows = self.gateway.store().all_agents().await?;
        ensure!(rows.is_empty(), "a row of the agent is left");
        Ok(())
    }

    /// Stops the gateway, and removes what it has written.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let Self { stop, running, folder, .. } = self;
        // If nobody listens, the gateway has stopped by itself, and says why.
        let _ = stop.send(());
        running.await??;
        Ok(folder.close()?)
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        expected: StatusCode,
    ) -> anyhow::Result<Response> {
        let response = request.header("X-API-Key", self.key.expose()).send().await?;
        let status = response.status();
        if status != expected {
            anyhow::bail!("{status} instead of {expected}: {}", response.text().await?);
        }
        Ok(response)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/agents{path}", self.at)
    }
}

const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
