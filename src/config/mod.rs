//! Settings: a file, the environment and flags become one typed tree, or all mistakes at once.

mod bucket;
mod describe;
mod flags;
mod hearing;
mod http;
mod ice;
mod mistakes;
mod models;
mod parse;
mod reader;
mod rooms;
mod settings;
mod sources;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::privacy::Secret;
use reader::Reader;

pub use bucket::BucketConfig;
pub use flags::GlobalArgs;
pub use hearing::HearingConfig;
pub use http::{HttpConfig, TlsConfig};
pub use ice::{IceConfig, TurnConfig};
pub use mistakes::{EXIT_USAGE, Mistake, Mistakes};
pub use models::{DialectConfig, LOCAL, LocalConfig, ModelsConfig, ProfileConfig};
pub use rooms::RoomsConfig;
pub use settings::{SETTINGS, Setting, setting};
pub use sources::{ConfigFile, DEFAULT_FILE, Sources};

/// Everything that can be set. Each part goes to the part of the program that it is named after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where REST, Socket.IO, rooms and the console listen, over TCP.
    pub listen: SocketAddr,
    /// Where WebRTC media arrives, over UDP. Never empty.
    pub media_listen: Vec<SocketAddr>,
    /// Where media arrives over TCP; nowhere if there is no address. If this is left open, at the
    /// same addresses and numbers as over UDP, as far as they are free.
    pub media_tcp_listen: Option<Vec<SocketAddr>>,
    /// What ICE candidates carry in place of the addresses above.
    pub public_ip: Option<IpAddr>,
    /// How HTTP is spoken.
    pub http: HttpConfig,
    /// Who helps callers to find a way to the gateway.
    pub ice: IceConfig,
    /// `sqlite:PATH`, `sqlite::memory:` or `postgres://…`.
    pub database: String,
    /// The key of the user `bootstrap`.
    pub bootstrap_key: Option<Secret>,
    /// What management of users and keys asks for; without one it is refused.
    pub admin_token: Option<Secret>,
    /// The minds.
    pub model: ModelsConfig,
    /// What hearing needs beyond the program.
    pub hearing: HearingConfig,
    /// How long to wait for those who have gone.
    pub grace: GraceConfig,
    /// How long to keep agents that nobody uses.
    pub retention: RetentionConfig,
    /// Whether and how long to keep past calls.
    pub archive: ArchiveConfig,
    /// Whether and where calls are recorded.
    pub recordings: Option<RecordingsConfig>,
    /// Whether and where everything that goes into agents is written down.
    pub journal: Option<JournalConfig>,
    /// Where traces of calls are sent, if anywhere; without a password.
    pub otlp_endpoint: Option<String>,
    /// How much one caller may ask for.
    pub limits: LimitsConfig,
    /// When new calls are refused.
    pub admission: AdmissionConfig,
    /// Who may enter rooms.
    pub rooms: RoomsConfig,
    /// Where webhooks may lead.
    pub webhooks: WebhooksConfig,
    /// How to log.
    pub log: LogConfig,
    /// What an operator should know of these settings, for the log; one sentence each.
    pub warnings: Vec<String>,
}

/// How long to wait for those who have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraceConfig {
    /// From an agent's last client to its leaving the call.
    pub client: Duration,
    /// From the signal to the end of turns that still run.
    pub shutdown: Duration,
}

/// How long to keep agents that nobody uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    /// Without client and call, until the agent ends.
    pub inactive: Duration,
    /// Without input and speech, until the agent leaves its call.
    pub idle: Duration,
    /// With nobody else in the room, until the agent leaves its call.
    pub alone: Duration,
}

/// Whether and how long to keep past calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// Whether they are kept at all.
    pub enabled: bool,
    /// How long.
    pub kept: Duration,
}

/// Where calls are recorded whose agents ask for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingsConfig {
    /// The folder.
    pub directory: PathBuf,
    /// How long a recording is kept.
    pub kept: Duration,
    /// How much of a call is recorded at most.
    pub longest: Duration,
    /// Where they are brought when they have ended, if not the folder keeps them.
    pub bucket: Option<BucketConfig>,
}

/// Where everything that goes into agents is written down, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// The folder.
    pub directory: PathBuf,
    /// How large one agent's file may become.
    pub bytes_max: u64,
}

/// How much one caller may ask for, each second; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Requests with one API key.
    pub requests: u32,
    /// Wrong keys from one address.
    pub wrong_keys: u32,
    /// Messages of one client.
    pub messages: u32,
}

/// When new calls are refused. What is 0 refuses nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionConfig {
    /// How late a frame may leave before it counts as late.
    pub late: Duration,
    /// How long a packet may wait before it counts as old.
    pub queue: Duration,
    /// How many of a hundred may be late, or old.
    pub late_percent: u32,
    /// How many calls and callers are taken in a second.
    pub setups_per_second: u32,
    /// How many agents may be in calls at once.
    pub calls_max: u32,
}

/// Where webhooks may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhooksConfig {
    /// Whether they may lead to private and loopback addresses.
    pub private: bool,
}

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines are written.
    pub format: LogFormat,
    /// What is written.
    pub levels: LogLevels,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged. Modules of others that are not named log at WARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevels {
    /// The level of callbridge itself.
    pub own: LevelFilter,
    /// Levels of single modules, ours or others'.
    pub modules: Vec<(String, LevelFilter)>,
}

impl Default for LogLevels {
    fn default() -> Self {
        Self { own: LevelFilter::INFO, modules: Vec::new() }
    }
}

impl Config {
    /// Reads all sources. Binds nothing, opens nothing but the file.
    pub fn load(sources: &Sources) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(sources);
        let mut config = Self::read(&mut reader);
        warn_of_exposure(&config, &mut reader);
        config.warnings = reader.finish()?;
        Ok(config)
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let listen = reader.take("listen", parse::address).unwrap_or(LISTEN);
        let public_ip = reader.take("public_ip", parse::public_ip);
        let database = reader.take("database", parse::database);
        let media_listen = media_listen(reader, listen);
        Self {
            listen,
            media_tcp_listen: media_tcp_listen(reader, listen, &media_listen),
            media_listen,
            public_ip,
            http: HttpConfig::read(reader),
            ice: IceConfig::read(reader),
            database: database.unwrap_or_else(|| DATABASE.to_owned()),
            bootstrap_key: reader.take("bootstrap_key", parse::api_key),
            admin_token: reader.take("admin_token", parse::token),
            model: ModelsConfig::read(reader),
            hearing: HearingConfig::read(reader),
            grace: GraceConfig {
                client: duration(reader, "grace.client_seconds", 15, SECOND),
                shutdown: duration(reader, "grace.shutdown_seconds", 30, SECOND),
            },
            retention: RetentionConfig {
                inactive: duration(reader, "retention.inactive_hours", 24, HOUR),
                idle: duration(reader, "retention.idle_minutes", 5, MINUTE),
                alone: duration(reader, "retention.alone_seconds", 60, SECOND),
            },
            archive: ArchiveConfig {
                enabled: reader.take("archive.enabled", parse::boolean).unwrap_or(true),
                kept: duration(reader, "archive.days", 30, DAY),
            },
            recordings: recordings(reader),
            journal: journal(reader),
            otlp_endpoint: otlp_endpoint(reader),
            limits: LimitsConfig {
                requests: rate(reader, "limits.requests_per_second", 2000),
                wrong_keys: rate(reader, "limits.wrong_keys_per_second", 20),
                messages: rate(reader, "limits.messages_per_second", 5000),
            },
            admission: admission(reader),
            rooms: RoomsConfig::read(reader, listen.ip().is_loopback()),
            webhooks: WebhooksConfig {
                private: reader.take("webhooks.private", parse::boolean).unwrap_or(false),
            },
            log: LogConfig {
                format: reader.take("log.format", parse::log_format).unwrap_or(LogFormat::Text),
                levels: reader.take("log.level", parse::log_levels).unwrap_or_default(),
            },
            warnings: Vec::new(),
        }
    }
}

/// Media follows `listen`: any free port on loopback, the same number elsewhere so that one
/// number opens a firewall. No address can be told to callers of a wildcard, so it is asked for.
fn media_listen(reader: &mut Reader<'_>, listen: SocketAddr) -> Vec<SocketAddr> {
    let is_given = reader.has("media_listen");
    if let Some(addresses) = reader.take("media_listen", parse::addresses) {
        return addresses;
    }
    let ip = listen.ip();
    if ip.is_unspecified() && !is_given {
        let what = "must be given when listen is a wildcard: the UDP address that callers reach, \
                    such as 192.0.2.1:8080";
        reader.mistake("media_listen", what);
    }
    vec![SocketAddr::new(ip, if ip.is_loopback() { 0 } else { listen.port() })]
}

/// Over TCP, media follows where it goes over UDP, but gives way to HTTP.
fn media_tcp_listen(
    reader: &mut Reader<'_>,
    listen: SocketAddr,
    media: &[SocketAddr],
) -> Option<Vec<SocketAddr>> {
    let is_http = |at: &SocketAddr| {
        let is_same_ip = at.ip() == listen.ip()
            || at.is_ipv4() == listen.is_ipv4()
                && (at.ip().is_unspecified() || listen.ip().is_unspecified());
        is_same_ip && at.port() == listen.port() && at.port() != 0
    };
    if let Some(wanted) = reader.take("media_tcp_listen", parse::addresses_or_off) {
        if let Some(taken) = wanted.iter().find(|at| is_http(at)) {
            let what = format!("{taken} is listen's own: HTTP and media need a TCP port each");
            reader.mistake("media_tcp_listen", what);
        }
        return Some(wanted);
    }
    if !media.iter().any(is_http) {
        return None;
    }
    Some(media.iter().copied().filter(|at| !is_http(at)).collect())
}

/// Off, unless a folder is named.
fn recordings(reader: &mut Reader<'_>) -> Option<RecordingsConfig> {
    let kept = duration(reader, "recordings.retention_days", 30, DAY);
    let minutes = reader.take("recordings.max_minutes", parse::whole(1..=RECORDED_MINUTES_MAX));
    let bucket = BucketConfig::read(reader);
    let has_directory = reader.has("recordings.directory");
    if bucket.is_some() && !has_directory {
        let what = "needs recordings.directory: calls are recorded there, and then brought here";
        reader.mistake("recordings.s3.bucket", what);
    }
    let directory = reader.take("recordings.directory", |text| Ok(PathBuf::from(text)))?;
    let longest = minutes.map_or(RECORDED_USUALLY, Duration::from_mins);
    Some(RecordingsConfig { directory, kept, longest, bucket })
}

/// Off, unless a folder is named.
fn journal(reader: &mut Reader<'_>) -> Option<JournalConfig> {
    let megabytes = reader.take("journal.megabytes_max", parse::whole(1..=100_000));
    let directory = reader.take("journal.directory", |text| Ok(PathBuf::from(text)))?;
    Some(JournalConfig { directory, bytes_max: megabytes.unwrap_or(200) * 1_000_000 })
}

/// Off, unless it is named, here or as OpenTelemetry's own specification has it.
fn otlp_endpoint(reader: &mut Reader<'_>) -> Option<String> {
    let is_given = reader.has("telemetry.otlp_endpoint");
    let endpoint = reader.take("telemetry.otlp_endpoint", parse::http_address);
    let standard = reader.sources.variable(OTLP_ENV).filter(|_| !is_given);
    endpoint.or_else(|| match parse::http_address(standard?) {
        Ok(endpoint) => Some(endpoint),
        Err(why) => {
            reader.mistake(OTLP_ENV, why);
            None
        }
    })
}

/// By missed deadlines, unless told otherwise.
fn admission(reader: &mut Reader<'_>) -> AdmissionConfig {
    let ms = |reader: &mut Reader<'_>, key, default| {
        Duration::from_millis(reader.take(key, parse::step).unwrap_or(default))
    };
    let percent = reader.take("admission.late_percent", parse::whole(1..=100));
    AdmissionConfig {
        late: ms(reader, "admission.late_ms", 5),
        queue: ms(reader, "admission.queue_ms", 10),
        late_percent: percent.and_then(|percent| u32::try_from(percent).ok()).unwrap_or(2),
        setups_per_second: rate(reader, "admission.setups_per_second", 100),
        calls_max: rate(reader, "admission.calls_max", 0),
    }
}

/// A whole number of `unit` from the sources, at least one, as a duration.
fn duration(reader: &mut Reader<'_>, key: &str, default: u64, unit: Duration) -> Duration {
    let most = YEAR.as_secs() / unit.as_secs();
    let least = u64::from(!key.starts_with("grace."));
    let number = reader.take(key, parse::whole(least..=most)).unwrap_or(default);
    Duration::from_secs(number * unit.as_secs())
}

/// How often a second something may happen.
fn rate(reader: &mut Reader<'_>, key: &str, default: u32) -> u32 {
    let number = reader.take(key, parse::whole(0..=RATE_MAX));
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
}

/// What is open to other machines by these settings, or needlessly shut.
fn warn_of_exposure(config: &Config, reader: &mut Reader<'_>) {
    if config.listen.ip().is_loopback() {
        return;
    }
    if config.bootstrap_key.is_none() && config.admin_token.is_none() {
        reader.warn(
            "listen is not a loopback address, and there is neither a bootstrap_key nor an \
             admin_token: only keys that are in the database already will work",
        );
    }
    if config.rooms.open {
        reader.warn(
            "rooms.open is true and listen is not a loopback address: whoever reaches \
                     this address may enter every room",
        );
    }
    if config.public_ip.is_none() && config.media_listen.iter().any(|at| at.ip().is_unspecified()) {
        reader.warn(
            "media_listen is a wildcard and there is no public_ip: callers are told the \
                     addresses of all interfaces",
        );
    }
}

/// What every program with OpenTelemetry reads.
const OTLP_ENV: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DATABASE: &str = "sqlite:callbridge.db";
/// More is no limit; 0 says that better.
const RATE_MAX: u64 = 1_000_000;
/// A WAV of these is 4.1 GB, and one of more has no room for its own length.
const RECORDED_MINUTES_MAX: u64 = 720;
const RECORDED_USUALLY: Duration = Duration::from_hours(4);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(365 * 24);
