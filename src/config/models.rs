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
    /// Its WebSocket address, without the query.
    pub url: String,
    /// The model asked for.
    pub model: String,
    /// The key it wants, if it wants one.
    pub key: Option<Secret>,
    /// The voice of agents that name none; `None` leaves the choice to the server.
    pub voice: Option<String>,
    /// The model that transcribes what is heard; `None` leaves the choice to the adapter.
    pub transcription_model: Option<String>,
    /// Whether it is shown images.
    pub images: bool,
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
fn cache_folder(reader: &Reader<'_>) -> PathBuf {
    let sources = reader.sources;
    let home =
        || sources.variable("HOME").map(|home| PathBuf::from(home).join(".cache/callbridge"));
    let given = sources.variable(CACHE_ENV).map(PathBuf::from);
    given.or_else(home).unwrap_or_else(|| "/var/cache/callbridge".into())
}

/// The profile `openai`, if anything makes it usable: a key, or a server of one's own.
fn openai(reader: &mut Reader<'_>) -> Option<ProfileConfig> {
    let own_server = reader.has("models.openai.url");
    let profile = ProfileConfig {
        name: OPENAI.to_owned(),
        url: take(reader, OPENAI, "url", parse::websocket_url).unwrap_or_else(|| OPENAI_URL.into()),
        model: take(reader, OPENAI, "model", parse::word).unwrap_or_else(|| OPENAI_MODEL.into()),
        key: key(reader, OPENAI)
            .or_else(|| reader.sources.variable(OPENAI_KEY_ENV).map(Secret::new)),
        voice: take(reader, OPENAI, "voice", parse::word),
        transcription_model: take(reader, OPENAI, "transcription_model", parse::word),
        images: images(reader, OPENAI),
    };
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
    let key = key(reader, name);
    let voice = take(reader, name, "voice", parse::word);
    let transcription_model = take(reader, name, "transcription_model", parse::word);
    let images = images(reader, name);
    let name = name.to_owned();
    Some(ProfileConfig { name, url: url?, model: model?, key, voice, transcription_model, images })
}

/// A server of the protocol sees, unless its profile says that it does not.
fn images(reader: &mut Reader<'_>, profile: &str) -> bool {
    take(reader, profile, "images", parse::boolean).unwrap_or(true)
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
    fn hosts_are_told_apart() {
        assert_eq!(host_of("127.0.0.1:9/v1"), "127.0.0.1");
        assert_eq!(host_of("[::1]:9"), "[::1]");
        assert_eq!(host_of("example.com?x=1"), "example.com");
        assert!(is_this_machine("127.0.0.1") && !is_this_machine("example.com"));
    }
}
