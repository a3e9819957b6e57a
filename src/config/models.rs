//! Which minds there are, and which of them answers when an agent names none.

use std::path::PathBuf;

use crate::privacy::Secret;

use super::parse;
use super::reader::Reader;
use super::settings::CACHE_ENV;

/// The minds that agents may choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelsConfig {
    /// The profile of agents that name none: `local`, or a name in `profiles`.
    pub default: String,
    /// Servers of the `OpenAI` Realtime protocol, by name.
    pub profiles: Vec<ProfileConfig>,
    /// The model that comes with callbridge; it is always there under the name `local`.
    pub local: LocalConfig,
}

/// A server of the `OpenAI` Realtime protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileConfig {
    /// The name by which agents choose it.
    pub name: String,
    /// Its WebSocket address, without the model.
    pub url: String,
    /// How it is spoken to.
    pub dialect: DialectConfig,
    /// The model asked for.
    pub model: String,
    /// The key it wants, if it wants one.
    pub key: Option<Secret>,
    /// The voice of agents that name none; `None` leaves the choice to the server.
    pub voice: Option<String>,
    /// The model that transcribes what is heard; `None` leaves the choice to the adapter.
    pub transcription_model: Option<String>,
    /// `near_field` or `far_field`; `None` leaves it to the server.
    pub noise_reduction: Option<String>,
    /// Whether it is shown images.
    pub images: bool,
}

/// The ways in which servers of the protocol are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialectConfig {
    /// `OpenAI`'s own.
    Openai,
    /// Azure's; which of its two, the address says.
    Azure,
    /// xAI's.
    Xai,
    /// That of Alibaba's Qwen-Omni.
    Qwen,
    /// No more than the core of the protocol.
    Generic,
}

impl DialectConfig {
    /// As it stands in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Azure => "azure",
            Self::Xai => "xai",
            Self::Qwen => "qwen",
            Self::Generic => "generic",
        }
    }

    /// Whether models there are shown images as items of the conversation.
    const fn sees(self) -> bool {
        match self {
            Self::Openai | Self::Azure | Self::Generic => true,
            Self::Xai | Self::Qwen => false,
        }
    }

    const fn reduces_noise(self) -> bool {
        match self {
            Self::Openai | Self::Azure | Self::Generic => true,
            Self::Xai | Self::Qwen => false,
        }
    }

    /// That of the vendor whose host it is; `OpenAI`'s for any other, because most follow it.
    fn of_host(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        let below =
            |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        if AZURE_DOMAINS.iter().any(|domain| below(domain)) {
            Self::Azure
        } else if host == XAI_HOST {
            Self::Xai
        } else if below(QWEN_DOMAIN) {
            Self::Qwen
        } else {
            Self::Openai
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let all = [Self::Openai, Self::Azure, Self::Xai, Self::Qwen, Self::Generic];
        let wanted = || format!("`{text}` is none of openai, azure, xai, qwen, generic");
        all.into_iter().find(|dialect| dialect.name() == text).ok_or_else(wanted)
    }
}

/// The model that comes with callbridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalConfig {
    /// The folder of the recogniser's files.
    pub dir: PathBuf,
    /// The flite voice.
    pub voice: String,
}

/// The name of the local model.
pub const LOCAL: &str = "local";

const OPENAI: &str = "openai";
const OPENAI_URL: &str = "wss://api.openai.com/v1/realtime";
const OPENAI_MODEL: &str = "gpt-realtime-2.1";
const OPENAI_KEY_ENV: &str = "OPENAI_API_KEY";
const AZURE_DOMAINS: [&str; 3] =
    ["openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"];
const XAI_HOST: &str = "api.x.ai";
const QWEN_DOMAIN: &str = "aliyuncs.com";
const LOCAL_MODEL: &str = "moonshine-tiny-en-0.0.73";
const LOCAL_VOICE: &str = "rms";

impl ModelsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let local = LocalConfig::read(reader);
        let openai = openai(reader);
        let others = reader.tables_below("models.");
        let mut profiles: Vec<ProfileConfig> = openai.into_iter().collect();
        profiles.extend(others.iter().filter_map(|name| other(reader, name)));
        warn_of_open_keys(reader, &profiles);
        let default = default_of(reader, &profiles);
        Self { default, profiles, local }
    }
}

impl LocalConfig {
    fn read(reader: &mut Reader<'_>) -> Self {
        let dir = reader.take("local.dir", |text| Ok(PathBuf::from(text)));
        let dir = dir.unwrap_or_else(|| cache_folder(reader).join("models").join(LOCAL_MODEL));
        let voice = reader.take("local.voice", parse::name);
        Self { dir, voice: voice.unwrap_or_else(|| LOCAL_VOICE.to_owned()) }
    }
}

/// Where `make deps` puts downloads; a service without a home folder has the system's cache.
pub(super) fn cache_folder(reader: &Reader<'_>) -> PathBuf {
    let sources = reader.sources;
    let home =
        || sources.variable("HOME").map(|home| PathBuf::from(home).join(".cache/callbridge"));
    let given = sources.variable(CACHE_ENV).map(PathBuf::from);
    given.or_else(home).unwrap_or_else(|| "/var/cache/callbridge".into())
}

/// The profile `openai`, if anything makes it usable: a key, or a server of one's own.
fn openai(reader: &mut Reader<'_>) -> Option<ProfileConfig> {
    let own_server = reader.has("models.openai.url");
    let url = take(reader, OPENAI, "url", parse::websocket_url);
    let model = take(reader, OPENAI, "model", parse::word);
    let url = url.unwrap_or_else(|| OPENAI_URL.into());
    let model = model.unwrap_or_else(|| OPENAI_MODEL.into());
    let mut profile = Wishes::take(reader, OPENAI).into_profile(OPENAI, url, model);
    check_noise_reduction(reader, &profile);
    let usual_key = || reader.sources.variable(OPENAI_KEY_ENV).map(Secret::new);
    profile.key = profile.key.or_else(usual_key);
    (own_server || profile.key.is_some()).then_some(profile)
}

/// A profile that only the file names; it must say all that is needed.
fn other(reader: &mut Reader<'_>, name: &str) -> Option<ProfileConfig> {
    let table = format!("models.{name}");
    if name == LOCAL {
        reader.mistake(&table, "this name is the built-in model's; its settings are in [local]");
    } else if let Err(why) = parse::name(name) {
        reader.mistake(&table, why);
    }
    for field in ["url", "model"] {
        if !reader.has(&format!("{table}.{field}")) {
            reader.mistake(&table, format!("{field} must be given"));
        }
    }
    let url = take(reader, name, "url", parse::websocket_url);
    let model = take(reader, name, "model", parse::word);
    let wishes = Wishes::take(reader, name);
    let profile = wishes.into_profile(name, url?, model?);
    check_noise_reduction(reader, &profile);
    Some(profile)
}

/// To ask for what the server does not have is a mistake.
fn check_noise_reduction(reader: &mut Reader<'_>, profile: &ProfileConfig) {
    if profile.noise_reduction.is_some() && !profile.dialect.reduces_noise() {
        let why = format!("the dialect {} has no noise reduction", profile.dialect.name());
        reader.mistake(&format!("models.{}.noise_reduction", profile.name), why);
    }
}

/// What a profile may say beside where it is.
struct Wishes {
    dialect: Option<DialectConfig>,
    key: Option<Secret>,
    voice: Option<String>,
    transcription_model: Option<String>,
    noise_reduction: Option<String>,
    images: Option<bool>,
}

impl Wishes {
    fn take(reader: &mut Reader<'_>, profile: &str) -> Self {
        Self {
            dialect: take(reader, profile, "dialect", DialectConfig::parse),
            key: key(reader, profile),
            voice: take(reader, profile, "voice", parse::word),
            transcription_model: take(reader, profile, "transcription_model", parse::word),
            noise_reduction: take(reader, profile, "noise_reduction", parse::noise_reduction),
            images: take(reader, profile, "images", parse::boolean),
        }
    }

    /// What is not wished for follows from the address.
    fn into_profile(self, name: &str, url: String, model: String) -> ProfileConfig {
        let dialect = self.dialect.unwrap_or_else(|| {
            let rest = url.split_once("://").map_or("", |(_, rest)| rest);
            DialectConfig::of_host(host_of(rest))
        });
        ProfileConfig {
            name: name.to_owned(),
            url,
            dialect,
            model,
            key: self.key,
            voice: self.voice,
            transcription_model: self.transcription_model,
            noise_reduction: self.noise_reduction,
            images: self.images.unwrap_or(dialect.sees()),
        }
    }
}

fn take<T>(
    reader: &mut Reader<'_>,
    profile: &str,
    field: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    reader.take(&format!("models.{profile}.{field}"), parse)
}

/// The key in the variable that the profile names. To name one that is not there is a mistake.
fn key(reader: &mut Reader<'_>, profile: &str) -> Option<Secret> {
    let sources = reader.sources;
    take(reader, profile, "key_env", |variable| match sources.variable(variable) {
        Some(key) => Ok(Secret::new(key)),
        None => Err(format!("the environment has no {variable}")),
    })
}

fn warn_of_open_keys(reader: &mut Reader<'_>, profiles: &[ProfileConfig]) {
    for profile in profiles.iter().filter(|profile| profile.key.is_some()) {
        let host = profile.url.strip_prefix("ws://").map(host_of);
        if host.is_some_and(|host| !is_this_machine(host)) {
            let url = &profile.url;
            reader.warn(format!("the key of {} is sent to {url} without encryption", profile.name));
        }
    }
}

fn host_of(rest: &str) -> &str {
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

fn default_of(reader: &mut Reader<'_>, profiles: &[ProfileConfig]) -> String {
    let has = |name: &str| profiles.iter().any(|profile| profile.name == name);
    let named = reader.take("model", |name| match name {
        LOCAL => Ok(name.to_owned()),
        name if has(name) => Ok(name.to_owned()),
        OPENAI => Err(format!("openai needs {OPENAI_KEY_ENV} or CALLBRIDGE_OPENAI_URL")),
        _ => Err(format!("there is no model profile `{name}`; [models.{name}] would make one")),
    });
    named.unwrap_or_else(|| if has(OPENAI) { OPENAI } else { LOCAL }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendors_host_tells_its_dialect() {
        let hosts = [
            ("api.openai.com", DialectConfig::Openai),
            ("me.openai.azure.com", DialectConfig::Azure),
            ("Me.Cognitiveservices.Azure.com", DialectConfig::Azure),
            ("api.x.ai", DialectConfig::Xai),
            ("dashscope-intl.aliyuncs.com", DialectConfig::Qwen),
            ("notopenai.azure.com", DialectConfig::Openai),
            ("models.example.com", DialectConfig::Openai),
        ];
        for (host, dialect) in hosts {
            assert_eq!(DialectConfig::of_host(host), dialect, "{host}");
        }
    }

    #[test]
    fn hosts_are_told_apart() {
        assert_eq!(host_of("127.0.0.1:9/v1"), "127.0.0.1");
        assert_eq!(host_of("[::1]:9"), "[::1]");
        assert_eq!(host_of("example.com?x=1"), "example.com");
        assert!(is_this_machine("127.0.0.1") && !is_this_machine("example.com"));
    }
}
