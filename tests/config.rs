//! Settings from outside: which source wins, what the defaults are, and how mistakes are told.

#![expect(clippy::unwrap_used, reason = "a test whose helper fails has failed")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use callbridge::cli::check_config;
use callbridge::config::{Config, ConfigFile, DialectConfig, GlobalArgs, SETTINGS, Sources};
use clap::{CommandFactory as _, Parser};

#[test]
fn without_any_source_everything_has_its_default() {
    let config = load(&Setup::default()).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.media_listen, ["127.0.0.1:0".parse::<SocketAddr>().unwrap()]);
    assert_eq!(config.database, "sqlite:callbridge.db");
    assert_eq!(config.model.default, "local");
    assert_eq!(config.model.profiles, []);
    assert_eq!(config.grace.client, Duration::from_secs(15));
    assert_eq!(config.retention.inactive, Duration::from_hours(24));
    assert_eq!(config.archive.kept, Duration::from_hours(30 * 24));
    let limits = config.limits;
    assert_eq!((limits.requests, limits.wrong_keys, limits.messages), (2000, 20, 5000));
    let admission = config.admission;
    assert_eq!((admission.late.as_millis(), admission.queue.as_millis()), (5, 10));
    assert_eq!((admission.late_percent, admission.setups_per_second), (2, 100));
    assert_eq!(admission.calls_max, 0);
    assert!(config.rooms.open && !config.rooms.files);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn a_flag_beats_the_environment_and_that_beats_the_file() {
    let mut setup = Setup {
        file: "listen = '127.0.0.1:1'\ndatabase = 'sqlite:file.db'\nlog.format = 'json'\n",
        env: &[("CALLBRIDGE_LISTEN", "127.0.0.1:2"), ("CALLBRIDGE_DATABASE", "sqlite:env.db")],
        flags: &["--listen", "127.0.0.1:3"],
    };
    assert_eq!(listen_database_format(&setup), "127.0.0.1:3 sqlite:env.db Json");
    setup.flags = &[];
    assert_eq!(listen_database_format(&setup), "127.0.0.1:2 sqlite:env.db Json");
    setup.env = &[];
    assert_eq!(listen_database_format(&setup), "127.0.0.1:1 sqlite:file.db Json");
}

#[test]
fn an_empty_variable_counts_as_none() {
    let env = &[("CALLBRIDGE_LISTEN", ""), ("OPENAI_API_KEY", "")];
    let config = load(&Setup { env, ..Setup::default() }).unwrap();
    assert_eq!(config.listen.port(), 8080);
    assert_eq!(config.model.default, "local");
}

#[test]
fn all_mistakes_are_told_at_once_and_each_names_its_source() {
    let setup = Setup {
        file: "listen = 'here'\ncolour = 'blue'\n[grace]\nclient_seconds = -1\n",
        env: &[("CALLBRIDGE_PUBLIC_IP", "0.0.0.0"), ("CALLBRIDGE_BOOTSTRAP_KEY", "hunter2")],
        flags: &["--log", "loud"],
    };
    let told = mistakes(&setup);
    let wanted = [
        "callbridge.toml:1: listen: `here` is not an IP address with a port",
        "CALLBRIDGE_PUBLIC_IP: `0.0.0.0` names no machine",
        "CALLBRIDGE_BOOTSTRAP_KEY: must be ak_",
        "callbridge.toml:4: grace.client_seconds: `-1` is not a whole number",
        "--log: `loud` is none of",
        "callbridge.toml:2: unknown setting colour",
    ];
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.contains(wanted), "{told} should contain {wanted}");
    }
    assert!(!told.concat().contains("hunter2"), "a secret is repeated: {told:#?}");
}

#[test]
fn a_certificate_and_its_key_belong_together() {
    let alone = mistakes(&Setup { flags: &["--tls-certificate", "c.pem"], ..Setup::default() });
    assert!(alone[0].contains("tls.key: must be given"), "{alone:?}");
    let flags = &["--tls-certificate", "c.pem", "--tls-key", "k.pem"];
    let config = load(&Setup { flags, ..Setup::default() }).unwrap();
    assert_eq!(config.http.scheme(), "https");
}

#[test]
fn a_turn_server_is_of_use_with_its_secret_alone() {
    const BOTH: &[(&str, &str)] = &[
        ("CALLBRIDGE_TURN_URLS", "turn:a.example,turns:b.example"),
        ("CALLBRIDGE_TURN_SECRET", "s"),
    ];
    let config = load(&Setup { env: BOTH, ..Setup::default() }).unwrap();
    let turn = config.ice.turn.unwrap();
    assert_eq!(turn.urls, ["turn:a.example", "turns:b.example"]);
    assert_eq!(turn.ttl, Duration::from_hours(1));
    let without = mistakes(&Setup { env: &BOTH[..1], ..Setup::default() });
    assert!(without[0].contains("turn.secret: must be given"), "{without:?}");
    let without = mistakes(&Setup { env: &BOTH[1..], ..Setup::default() });
    assert!(without[0].contains("turn.urls: must be given"), "{without:?}");
}

#[test]
fn a_bucket_needs_its_keys_and_a_folder_to_record_in() {
    const BUCKET: (&str, &str) = ("CALLBRIDGE_RECORDINGS_S3_BUCKET", "calls");
    const FOLDER: (&str, &str) = ("CALLBRIDGE_RECORDINGS_DIRECTORY", "/var/lib/recordings");
    const ACCESS: (&str, &str) = ("CALLBRIDGE_RECORDINGS_S3_ACCESS_KEY", "me");
    const SECRET: (&str, &str) = ("CALLBRIDGE_RECORDINGS_S3_SECRET_KEY", "hunter2");
    let told = mistakes(&Setup { env: &[BUCKET, FOLDER, ACCESS], ..Setup::default() });
    assert!(told.len() == 1 && told[0].contains("recordings.s3.secret_key"), "{told:?}");
    let told = mistakes(&Setup { env: &[BUCKET, ACCESS, SECRET], ..Setup::default() });
    assert!(told.len() == 1 && told[0].contains("needs recordings.directory"), "{told:?}");

    let env = &[BUCKET, FOLDER, ACCESS, SECRET];
    let bucket_of =
        |file| load(&Setup { file, env, ..Setup::default() }).unwrap().recordings.unwrap().bucket;
    let amazon = bucket_of("recordings.s3.region = 'eu-central-1'").unwrap();
    assert_eq!(amazon.endpoint, "https://s3.eu-central-1.amazonaws.com");
    assert!(!amazon.path_style && !amazon.keep_local && amazon.prefix.is_empty());
    let own =
        bucket_of("recordings.s3 = { endpoint = 'http://store:9000', prefix = '/a/b/' }").unwrap();
    assert_eq!((own.path_style, &*own.prefix, &*own.region), (true, "a/b", "us-east-1"));
    let (out, _) = check(&Setup { env, ..Setup::default() });
    assert!(out.contains("recordings.s3.secret_key = (set, not shown)\n"), "{out}");
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn traces_go_where_opentelemetrys_variable_says_unless_a_setting_says_otherwise() {
    let env = &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")];
    let mut setup = Setup { env, ..Setup::default() };
    let endpoint = |setup: &Setup| load(setup).unwrap().otlp_endpoint;
    assert_eq!(endpoint(&Setup::default()), None);
    assert_eq!(endpoint(&setup).as_deref(), Some("http://collector:4318"));
    setup.file = "[telemetry]\notlp_endpoint = 'https://traces.example'\n";
    assert_eq!(endpoint(&setup).as_deref(), Some("https://traces.example"));
}

#[test]
fn an_address_for_traces_has_no_password_and_none_is_repeated() {
    const WRONG: [&[(&str, &str)]; 2] = [
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@collector")],
        &[("CALLBRIDGE_TELEMETRY_OTLP_ENDPOINT", "https://collector/?key=hunter2")],
    ];
    for env in WRONG {
        let told = mistakes(&Setup { env, ..Setup::default() });
        assert_eq!(told.len(), 1, "{told:?}");
        let name = env[0].0;
        assert!(told[0].starts_with(&format!("{name}: must be http://HOST:PORT")), "{told:?}");
        assert!(!told[0].contains("hunter2"), "{told:?}");
    }
}

#[test]
fn a_named_file_must_exist_and_the_default_one_need_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callbridge.toml");
    let file = ConfigFile::IfPresent(path.clone());
    assert!(Config::load(&Sources { file, ..Sources::default() }).is_ok());
    let file = ConfigFile::Required(path);
    let mistakes = Config::load(&Sources { file, ..Sources::default() }).unwrap_err().to_string();
    assert!(mistakes.contains("callbridge.toml: cannot be read"), "{mistakes}");
}

#[test]
fn a_key_selects_openai() {
    let config = load(&Setup { env: &[("OPENAI_API_KEY", "sk-1")], ..Setup::default() }).unwrap();
    assert_eq!(config.model.default, "openai");
    assert!(config.model.profiles[0].images);
    let openai = &config.model.profiles[0];
    assert_eq!(openai.url, "wss://api.openai.com/v1/realtime");
    assert_eq!(openai.model, "gpt-realtime-2.1");
    assert_eq!(openai.key.as_ref().unwrap().expose(), "sk-1");
}

#[test]
fn an_address_alone_selects_openai_without_a_key() {
    let env = &[("CALLBRIDGE_OPENAI_URL", "ws://127.0.0.1:9/v1/realtime")];
    let config = load(&Setup { env, ..Setup::default() }).unwrap();
    assert_eq!(config.model.default, "openai");
    assert_eq!(config.model.profiles[0].key, None);
}

#[test]
fn the_file_may_add_profiles_whose_keys_are_in_the_environment() {
    let setup = Setup {
        file: "model = 'mine'\n[models.mine]\nurl = 'wss://example.com/v1'\nmodel = 'm'\n\
               images = false\nkey_env = 'MY_KEY'\nvoice = 'v'\n",
        env: &[("MY_KEY", "secret")],
        ..Setup::default()
    };
    let config = load(&setup).unwrap();
    assert_eq!(config.model.default, "mine");
    let mine = &config.model.profiles[0];
    assert_eq!((mine.name.as_str(), mine.voice.as_deref()), ("mine", Some("v")));
    assert_eq!(mine.key.as_ref().unwrap().expose(), "secret");
    assert!(!mine.images);
}

#[test]
fn a_dialect_is_named_or_follows_from_the_host() {
    let setup = Setup {
        file: "[models.azure]\nurl = 'wss://me.openai.azure.com/openai/v1/realtime'\nmodel = 'm'\n\
               noise_reduction = 'far_field'\n\
               [models.bare]\nurl = 'wss://example.com/v1'\nmodel = 'm'\ndialect = 'generic'\n\
               [models.grok]\nurl = 'wss://api.x.ai/v1/realtime'\nmodel = 'm'\n\
               [models.other]\nurl = 'wss://example.com/v1'\nmodel = 'm'\n\
               [models.qwen]\nurl = 'ws://127.0.0.1:1/'\nmodel = 'm'\ndialect = 'qwen'\n\
               images = true\n",
        ..Setup::default()
    };
    let config = load(&setup).unwrap();
    let told: Vec<_> = config
        .model
        .profiles
        .iter()
        .map(|profile| (profile.name.as_str(), profile.dialect, profile.images))
        .collect();
    let expected = [
        ("azure", DialectConfig::Azure, true),
        ("bare", DialectConfig::Generic, true),
        ("grok", DialectConfig::Xai, false),
        ("other", DialectConfig::Openai, true),
        ("qwen", DialectConfig::Qwen, true),
    ];
    assert_eq!(told, expected);
    assert_eq!(config.model.profiles[0].noise_reduction.as_deref(), Some("far_field"));
}

#[test]
fn dialects_that_are_none_and_what_they_lack_are_mistakes() {
    let file = "[models.a]\nurl = 'ws://127.0.0.1:1'\nmodel = 'm'\ndialect = 'klingon'\n\
                noise_reduction = 'none'\n\
                [models.b]\nurl = 'wss://api.x.ai/v1'\nmodel = 'm'\n\
                noise_reduction = 'near_field'\n";
    let told = mistakes(&Setup { file, ..Setup::default() }).join("\n");
    for wanted in [
        "models.a.dialect: `klingon` is none of openai, azure, xai, qwen, generic",
        "models.a.noise_reduction: `none` is neither near_field nor far_field",
        "models.b.noise_reduction: the dialect xai has no noise reduction",
    ] {
        assert!(told.contains(wanted), "{told}\nshould contain {wanted}");
    }
}

#[test]
fn profiles_that_cannot_work_are_mistakes() {
    let file = "model = 'nobody'\n[models.a]\nurl = 'http://x'\nkey_env = 'ABSENT'\n\
                [models.local]\nurl = 'ws://x'\nmodel = 'm'\n[models.b]\ncolour = 'red'\n";
    let told = mistakes(&Setup { file, ..Setup::default() }).join("\n");
    for wanted in [
        "callbridge.toml:1: model: there is no model profile `nobody`",
        "models.a.url: `http://x` does not begin with wss://",
        "models.a: model must be given",
        "models.a.key_env: the environment has no ABSENT",
        "models.local: this name is the built-in model's",
        "models.b: url must be given",
        "unknown setting models.b.colour",
    ] {
        assert!(told.contains(wanted), "{told}\nshould contain {wanted}");
    }
}

#[test]
fn openai_by_name_needs_a_key_or_an_address() {
    let told = mistakes(&Setup { flags: &["--model", "openai"], ..Setup::default() });
    assert_eq!(told, ["--model: openai needs OPENAI_API_KEY or CALLBRIDGE_OPENAI_URL"]);
}

#[test]
fn media_follows_the_listener() {
    let config = load(&Setup { flags: &["--listen", "192.0.2.1:80"], ..Setup::default() }).unwrap();
    assert_eq!(config.media_listen, ["192.0.2.1:80".parse::<SocketAddr>().unwrap()]);
    assert!(!config.rooms.open, "rooms are open on loopback only");
    let config = load(&Setup { flags: &["--listen", "[::1]:80"], ..Setup::default() }).unwrap();
    assert_eq!(config.media_listen, ["[::1]:0".parse::<SocketAddr>().unwrap()]);
}

#[test]
fn media_over_tcp_follows_media_but_leaves_http_its_port() {
    let streams = |flags: &'static [&'static str]| {
        let streams = load(&Setup { flags, ..Setup::default() }).unwrap().media_tcp_listen;
        streams.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(streams(&[]), None);
    assert_eq!(streams(&["--listen", "192.0.2.1:80"]), Some(vec![]));
    let both = &["--listen", "0.0.0.0:80", "--media-listen", "192.0.2.1:80,192.0.2.1:81"];
    assert_eq!(streams(both), Some(vec!["192.0.2.1:81".to_owned()]));
    assert_eq!(streams(&["--listen", "192.0.2.1:80", "--media-listen", "192.0.2.2:80"]), None);
    assert_eq!(streams(&["--media-tcp-listen", "off"]), Some(vec![]));
    let given = &["--listen", "192.0.2.1:80", "--media-tcp-listen", "192.0.2.1:443"];
    assert_eq!(streams(given), Some(vec!["192.0.2.1:443".to_owned()]));

    let flags = &["--listen", "192.0.2.1:80", "--media-tcp-listen", "192.0.2.1:80"];
    let told = mistakes(&Setup { flags, ..Setup::default() });
    let what =
        "media_tcp_listen: 192.0.2.1:80 is listen's own: HTTP and media need a TCP port each";
    assert_eq!(told, [what]);
}

#[test]
fn a_wildcard_listener_needs_a_media_address() {
    let told = mistakes(&Setup { flags: &["--listen", "0.0.0.0:80"], ..Setup::default() });
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("media_listen: must be given"), "{told:#?}");
    let flags = &["--listen", "0.0.0.0:80", "--media-listen", "192.0.2.1:81,192.0.2.2:81"];
    assert_eq!(load(&Setup { flags, ..Setup::default() }).unwrap().media_listen.len(), 2);
}

#[test]
fn what_is_open_or_unusable_is_a_warning() {
    let setup = Setup {
        env: &[("CALLBRIDGE_LISTN", "x"), ("CALLBRIDGE_CACHE", "/c"), ("OPENAI_API_KEY", "sk-1")],
        flags: &["--listen", "192.0.2.1:80", "--rooms-open", "--openai-url", "ws://example.com"],
        ..Setup::default()
    };
    let warnings = load(&setup).unwrap().warnings;
    let wanted = ["without encryption", "bootstrap_key", "rooms.open", "CALLBRIDGE_LISTN"];
    assert_eq!(warnings.len(), wanted.len(), "{warnings:#?}");
    for (warning, wanted) in warnings.iter().zip(wanted) {
        assert!(warning.contains(wanted), "{warning} should contain {wanted}");
    }
}

#[test]
fn the_local_model_lies_in_the_cache() {
    let dir = |env| load(&Setup { env, ..Setup::default() }).unwrap().model.local.dir;
    let model = "models/moonshine-tiny-en-0.0.73";
    assert_eq!(dir(&[("CALLBRIDGE_CACHE", "/c")]), PathBuf::from("/c").join(model));
    assert_eq!(dir(&[("HOME", "/h")]), PathBuf::from("/h/.cache/callbridge").join(model));
    assert_eq!(dir(&[]), PathBuf::from("/var/cache/callbridge").join(model));
}

#[test]
fn check_config_prints_what_is_in_force_and_no_secret() {
    let env = &[("OPENAI_API_KEY", "sk-hunter2"), ("CALLBRIDGE_ADMIN_TOKEN", "hunter2")];
    let (out, err) = check(&Setup { env, ..Setup::default() });
    assert!(out.starts_with("ok\nlisten = 127.0.0.1:8080\n"), "{out}");
    assert!(out.contains("models.openai.key = (set, not shown)\n"), "{out}");
    assert!(!out.contains("hunter2") && err.is_empty(), "{out}{err}");
    for setting in SETTINGS {
        assert!(out.contains(&format!("{} = ", setting.key)), "{} is missing", setting.key);
    }
}

#[test]
fn check_config_prints_every_mistake() {
    let (out, err) = check(&Setup { flags: &["--listen=x", "--model=y"], ..Setup::default() });
    assert_eq!(out, "");
    assert_eq!(err.lines().count(), 2, "{err}");
}

#[test]
fn every_setting_is_in_the_manual_as_the_program_has_it() {
    let manual = std::fs::read_to_string("docs/operations.md").unwrap();
    for setting in SETTINGS {
        let row = format!("| `{}` | `{}` | `--{}` |", setting.key, setting.env, setting.flag);
        assert!(manual.contains(&row), "docs/operations.md has no row beginning with {row}");
    }
}

#[test]
fn the_help_and_the_manual_name_the_numbers_that_hold() {
    let manual = std::fs::read_to_string("docs/operations.md").unwrap();
    let in_force = load(&Setup::default()).unwrap().describe();
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    let numbers = SETTINGS.iter().filter(|setting| is_number(setting.default));
    let mut seen = 0;
    for setting in numbers {
        let (key, default) = (setting.key, setting.default);
        let row = format!("| `{key}` | `{}` | `--{}` | `{default}` |", setting.env, setting.flag);
        assert!(manual.contains(&row), "docs/operations.md has no row beginning with {row}");
        let value = &in_force.iter().find(|(known, _)| known == key).unwrap().1;
        // What belongs to a part that is not there, such as TURN, has no value.
        if is_number(value) {
            assert_eq!(value, default, "{key}");
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} settings are numbers");
}

#[test]
fn settings_have_names_of_one_form() {
    for setting in SETTINGS {
        let expected = setting.env.strip_prefix("CALLBRIDGE_").unwrap_or(setting.env);
        assert_eq!(setting.flag, expected.to_lowercase().replace('_', "-"), "{}", setting.key);
    }
    Cli::command().debug_assert();
}

/// The sources of one test. Its file, if it has one, is called `callbridge.toml`.
#[derive(Default)]
struct Setup {
    file: &'static str,
    env: &'static [(&'static str, &'static str)],
    flags: &'static [&'static str],
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
}

fn with_sources<T>(setup: &Setup, use_them: impl FnOnce(&Sources) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callbridge.toml");
    std::fs::write(&path, setup.file).unwrap();
    let flags = ["callbridge"].iter().chain(setup.flags);
    let environment = setup.env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    use_them(&Sources {
        file: ConfigFile::Required(path),
        environment,
        flags: Cli::parse_from(flags).global.settings,
    })
}

fn load(setup: &Setup) -> Result<Config, callbridge::config::Mistakes> {
    with_sources(setup, Config::load)
}

fn mistakes(setup: &Setup) -> Vec<String> {
    load(setup).unwrap_err().0.iter().map(ToString::to_string).collect()
}

fn check(setup: &Setup) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    with_sources(setup, |sources| check_config::run(sources, &mut out, &mut err)).unwrap();
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn listen_database_format(setup: &Setup) -> String {
    let config = load(setup).unwrap();
    format!("{} {} {:?}", config.listen, config.database, config.log.format)
}
