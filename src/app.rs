//! From settings to a running gateway: build each part, run, drain.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;

use crate::agent::Limits;
use crate::api::{self, ApiConfig, Door, IceServers, Rates, Tls, TlsFiles, TurnServers};
use crate::config::{
    AdmissionConfig, Config, DialectConfig, HearingConfig, HttpConfig, IceConfig, LOCAL,
    ModelsConfig, ProfileConfig, RecordingsConfig, RoomsConfig, TlsConfig, TurnConfig,
};
use crate::media::SileroModel;
use crate::meter::Meter;
use crate::models::ModelProfile;
use crate::models::dialect::Dialect;
use crate::models::local::{LocalModel, LocalModelConfig};
use crate::rooms::{DailyConfig, PlacesConfig, Rooms, RoomsConfig as HostedConfig};
use crate::runtime::{
    AdmissionPolicy, ArchivePolicy, Gateway, Journal, JournalPolicy, Models, RecordingBucket,
    RecordingPolicy, Recordings, Shell, WebhookPolicy,
};
use crate::store::Store;
use crate::sys::clock;
use crate::sys::lanes::LaneThreads;
use crate::sys::tasks::{self, Task};
use crate::traces::Traces;

/// A gateway that is built and bound, and does not serve yet.
#[derive(Debug)]
pub struct App {
    door: Door,
    gateway: Gateway,
    api: ApiConfig,
    shutdown_grace: Duration,
    /// The local model's server, which lives as long as the gateway.
    _local: Option<Task>,
    /// What serves the calls: it ends after all else.
    _threads: LaneThreads,
}

/// The configured minds, and the local one if it runs.
#[derive(Debug)]
pub struct Minds {
    /// All profiles, and which is the default.
    pub models: Models,
    local: Option<Task>,
}

impl Minds {
    /// Takes the profiles from the settings, and starts the local model if agents get it.
    pub async fn open(config: &ModelsConfig) -> anyhow::Result<Self> {
        let named =
            config.profiles.iter().map(|profile| (profile.name.clone(), profile_of(profile)));
        let mut models = Models { default: config.default.clone(), profiles: named.collect() };
        let local = match open_local(config).await {
            Ok((url, server)) => {
                models.profiles.insert(LOCAL.to_owned(), ModelProfile::local(url));
                Some(server)
            }
            Err(error) if config.default == LOCAL => return Err(error),
            Err(error) => {
                tracing::info!("agents cannot choose the model `local`: {error:#}");
                None
            }
        };
        Ok(Self { models, local })
    }
}

impl App {
    /// Opens the store and the ports, and takes up the agents that were there before.
    pub async fn build(config: &Config, minds: Minds) -> anyhow::Result<Self> {
        let store = Store::open(&config.database).await?;
        if let Some(key) = &config.bootstrap_key {
            store.ensure_bootstrap(key, clock::unix_ms()).await?;
        }
        let threads = LaneThreads::for_all_cores().context("threads cannot be started")?;
        let hosted = HostedConfig {
            media_listen: config.media_listen.clone(),
            media_tcp_listen: config.media_tcp_listen.clone(),
            public_ip: config.public_ip,
            open: config.rooms.open,
        };
        let rooms = Rooms::in_lanes(&hosted, threads.lanes());
        let rooms = rooms.context("the media ports cannot be opened")?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
        let door = Door { listener, tls: open_tls(&config.http).await? };
        let shell = Shell::new(rooms, minds.models, limits(config));
        let shell = shell.visiting(places(config)?).archiving(ArchivePolicy {
            enabled: config.archive.enabled,
            kept: config.archive.kept,
        });
        let shell = shell.hooking(WebhookPolicy { private: config.webhooks.private });
        let shell = shell.journaling(open_journal(config)?).admitting(admission(config));
        let shell = shell.tracing(open_traces(config)?);
        let recordings = open_recordings(config, shell.meter.clone()).await?;
        let shell = shell.recording(recordings);
        let shell = shell.detecting(open_silero(config.hearing.clone()).await?);
        let gateway = Gateway::start(shell, store).await?;
        Ok(Self {
            door,
            gateway,
            api: ApiConfig {
                admin_token: config.admin_token.clone(),
                rates: rates(config),
                ice: ice_servers(&config.ice),
                trusted_proxies: config.http.trusted_proxies.clone(),
            },
            shutdown_grace: config.grace.shutdown,
            _local: minds.local,
            _threads: threads,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.door.listener.local_addr()?)
    }

    /// The gateway itself, for whoever runs it in the same process.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Serves until `shutdown` is over, then drains: running turns may end, agents are kept.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let router = api::router(self.gateway.clone(), self.api);
        let serving = tasks::spawn(
            "api",
            api::serve(self.door, router, async move {
                // Dropping the sender stops as well.
                let _ = stopped.await;
            }),
        );
        shutdown.await;
        tracing::info!("shutting down: running turns may end");
        let late = self.gateway.drain(self.shutdown_grace).await;
        drop(stop);
        serving.await??;
        if !late.is_empty() {
            bail!("{} agents did not leave in time: {late:?}", late.len());
        }
        tracing::info!("every agent has left");
        Ok(())
    }
}

/// The certificate of HTTPS, where one is named.
async fn open_tls(config: &HttpConfig) -> anyhow::Result<Option<Tls>> {
    let Some(files) = tls_files(config) else { return Ok(None) };
    Tls::open(files).await.map(Some).context("HTTPS cannot be served")
}

/// The files of HTTPS, where they are named.
pub(crate) fn tls_files(config: &HttpConfig) -> Option<TlsFiles> {
    let TlsConfig { certificate, key } = config.tls.clone()?;
    Some(TlsFiles { certificate, key })
}

/// The flight recorder, if a folder is named for it.
fn open_journal(config: &Config) -> anyhow::Result<Option<Journal>> {
    let Some(journal) = &config.journal else { return Ok(None) };
    let directory = journal.directory.clone();
    let name = directory.display().to_string();
    let policy = JournalPolicy { directory, bytes_max: journal.bytes_max };
    tracing::info!(directory = name, "all that agents hear and say is written down here");
    let journal = Journal::open(policy);
    journal.map(Some).with_context(|| format!("the folder of journals, {name}, cannot be made"))
}

/// The way to a collector of traces, if one is named.
fn open_traces(config: &Config) -> anyhow::Result<Option<Traces>> {
    let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
    tracing::info!(endpoint, "traces of calls are sent here");
    Ok(Some(Traces::open(endpoint)?))
}

/// Where calls are recorded, if a folder is named for it.
async fn open_recordings(config: &Config, meter: Meter) -> anyhow::Result<Option<Recordings>> {
    let Some(recordings) = config.recordings.clone() else { return Ok(None) };
    let RecordingsConfig { directory, kept, longest, bucket } = recordings;
    let name = directory.display().to_string();
    let bucket = bucket.map(|bucket| RecordingBucket {
        endpoint: bucket.endpoint,
        region: bucket.region,
        name: bucket.name,
        prefix: bucket.prefix,
        path_style: bucket.path_style,
        access_key: bucket.access_key,
        secret_key: bucket.secret_key,
        keep_local: bucket.keep_local,
    });
    let policy = RecordingPolicy { directory, kept, longest, bucket };
    let opened = tasks::spawn_blocking(move || Recordings::open(policy, &meter)).await?;
    opened.map(Some).with_context(|| format!("the folder of recordings, {name}, cannot be used"))
}

/// The model of the detector `silero`, where it is. One that is named must be there.
async fn open_silero(config: HearingConfig) -> anyhow::Result<Option<SileroModel>> {
    let HearingConfig { silero: path, is_silero_named } = config;
    if !is_silero_named && !path.exists() {
        return Ok(None);
    }
    tasks::spawn_blocking(move || read_silero(&path).map(Some)).await?
}

/// Reads a file as the model of the detector `silero`.
pub(crate) fn read_silero(path: &Path) -> anyhow::Result<SileroModel> {
    let name = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("{name} cannot be read"))?;
    SileroModel::from_onnx(&bytes).with_context(|| format!("{name} is of no use"))
}

/// Loads the local model and serves it on a free loopback port; where, and the server.
pub(crate) async fn open_local(config: &ModelsConfig) -> anyhow::Result<(String, Task)> {
    let local = LocalModelConfig {
        dir: config.local.dir.clone(),
        voice: config.local.voice.clone(),
        ..LocalModelConfig::default()
    };
    let model = tasks::spawn_blocking(move || LocalModel::load(local)).await??;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("ws://{}/v1/realtime", listener.local_addr()?);
    Ok((url, model.serve(listener)))
}

/// A profile as the settings have it, as its sessions need it.
pub(crate) fn profile_of(profile: &ProfileConfig) -> ModelProfile {
    let dialect = match profile.dialect {
        DialectConfig::Openai => Dialect::OPENAI,
        DialectConfig::Azure => Dialect::azure(&profile.url),
        DialectConfig::Xai => Dialect::XAI,
        DialectConfig::Qwen => Dialect::QWEN,
        DialectConfig::Generic => Dialect::GENERIC,
    };
    // Without a transcription model most servers tell nobody what was said.
    let named = profile.transcription_model.as_deref();
    let transcription = named.or(dialect.transcribes.model()).map(ToOwned::to_owned);
    ModelProfile {
        model: profile.model.clone(),
        key: profile.key.clone(),
        voice: profile.voice.clone(),
        transcription,
        noise_reduction: profile.noise_reduction.clone(),
        images: profile.images,
        ..ModelProfile::new(profile.name.clone(), profile.url.clone()).speaking(dialect)
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        client_grace: config.grace.client,
        idle: config.retention.idle,
        alone: config.retention.alone,
        inactive: config.retention.inactive,
        shutdown_grace: config.grace.shutdown,
        ..Limits::default()
    }
}

/// Which rooms elsewhere may be joined. A Python for Daily that is named must be there.
fn places(config: &Config) -> anyhow::Result<PlacesConfig> {
    let RoomsConfig { files, daily: python, is_daily_named, .. } = config.rooms.clone();
    if is_daily_named && !python.exists() {
        bail!("rooms.daily is {}, which is not there", python.display());
    }
    let daily = python.exists().then_some(DailyConfig { python });
    Ok(PlacesConfig { files, daily })
}

fn admission(config: &Config) -> AdmissionPolicy {
    let AdmissionConfig { late, queue, late_percent, setups_per_second, calls_max } =
        config.admission;
    AdmissionPolicy { late, queue, late_percent, setups_per_second, calls_max }
}

fn ice_servers(config: &IceConfig) -> IceServers {
    IceServers { stun: config.stun.clone(), turn: turn_servers(config) }
}

/// The TURN servers, where some are named.
pub(crate) fn turn_servers(config: &IceConfig) -> Option<TurnServers> {
    let TurnConfig { urls, secret, ttl } = config.turn.clone()?;
    Some(TurnServers { urls, secret, ttl })
}

fn rates(config: &Config) -> Rates {
    Rates {
        requests_per_second: config.limits.requests,
        wrong_keys_per_second: config.limits.wrong_keys,
        messages_per_second: config.limits.messages,
    }
}
