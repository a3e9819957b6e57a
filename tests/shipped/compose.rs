//! `docker-compose.yml` and what it mounts, as far as they can be tried without a Docker: the file
//! against its specification, names against the program, what is mounted with the real programs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use callbridge::config::{Config, SETTINGS, Sources};
use serde_json::Value;

use super::files::read;

#[test]
fn the_file_is_one_by_the_specification() {
    let schema: Value = json("fixtures/schemas/compose-spec.json");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let faults: Vec<_> = validator.iter_errors(&compose()).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
    let mut broken = compose();
    broken["services"]["callbridge"]["depend_on"] = Value::Null;
    assert!(!validator.is_valid(&broken), "a schema that lets everything pass");
}

#[test]
fn the_gateway_starts_alone_unless_more_is_asked_for() {
    let compose = compose();
    let services = services(&compose);
    let without: Vec<_> = services
        .iter()
        .filter(|(_, one)| one["profiles"].is_null())
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(without, ["callbridge"]);
    for (name, service) in &services {
        let profiles = texts(&service["profiles"]);
        for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
            let theirs = texts(&compose["services"][needed]["profiles"]);
            let is_there = profiles.iter().any(|profile| theirs.contains(profile));
            assert!(is_there || how["required"] == false, "{name} cannot start without {needed}");
            assert_eq!(how["condition"], "service_healthy", "{name}: {needed}");
            assert!(compose["services"][needed]["healthcheck"].is_object(), "{needed}");
        }
    }
}

#[test]
fn every_image_has_a_version_and_every_service_a_health_check() {
    let compose = compose();
    for (name, service) in services(&compose) {
        if let Some(image) = service["image"].as_str() {
            let version = image.rsplit_once(':').map(|(_, version)| version).unwrap_or_default();
            let parts = version.split('.').filter(|part| part.contains(|c: char| c.is_numeric()));
            assert!(parts.count() > 1, "{image}");
        } else {
            let folder = service["build"].as_str().expect("a folder");
            assert!(Path::new(folder).join("Dockerfile").exists(), "{folder}");
        }
        let is_checked = service["healthcheck"].is_object() || name == "callbridge";
        assert!(is_checked, "{name} has no health check");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
    }
}

#[test]
fn what_is_mounted_is_there() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            if source.starts_with('.') {
                assert!(Path::new(source).exists(), "{name}: {source}");
                assert!(volume.ends_with(":ro"), "{name} could change {source}");
            } else {
                assert!(compose["volumes"].get(source).is_some(), "{name}: {source}");
            }
        }
    }
}

#[test]
fn the_gateway_is_given_settings_that_it_has() {
    let compose = compose();
    let given = texts(&compose["services"]["callbridge"]["environment"]);
    let known = |name: &&str| {
        *name == "OPENAI_API_KEY" || SETTINGS.iter().any(|setting| setting.env == *name)
    };
    let unknown: Vec<_> = given.iter().filter(|name| !known(name)).collect();
    assert!(given.len() > 10 && unknown.is_empty(), "{unknown:?}");
    // With a value it would hide what `.env` says.
    assert!(!given.iter().any(|name| name.contains('=')), "{given:?}");
}

#[test]
fn the_example_of_settings_names_variables_that_are_used_and_profiles_that_are_there() {
    let (compose, text) = (compose(), read("docker-compose.yml"));
    let given = texts(&compose["services"]["callbridge"]["environment"]);
    let example = read("packaging/compose.env");
    let pairs = example.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let names: BTreeSet<&str> =
        pairs.map(|(name, _)| name).filter(|name| !name.contains(' ')).collect();
    assert!(names.contains("POSTGRES_PASSWORD"), "{names:?}");
    for name in names {
        let is_used = given.contains(&name) || text.contains(&format!("${{{name}:-}}"));
        assert!(is_used || name == "COMPOSE_PROFILES", "{name} is for nothing");
    }
    let all = services(&compose);
    let profiles: BTreeSet<&str> =
        all.iter().flat_map(|(_, one)| texts(&one["profiles"])).collect();
    for profile in profiles {
        assert!(example.contains(profile) && text.contains(&format!("--profile {profile} up")));
    }
}

#[test]
fn nothing_has_a_default_password_and_nothing_is_open_to_others() {
    let compose = compose();
    for (name, service) in services(&compose) {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = variable.ends_with("PASSWORD") || variable.ends_with("KEYS");
            let is_asked_for = value.as_str().is_some_and(|value| value.ends_with(":-}"));
            assert!(!is_secret || is_asked_for, "{name}: {variable}");
        }
        for port in texts(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        assert!(service["privileged"].is_null(), "{name}");
    }
    assert!(read(".dockerignore").lines().any(|line| line == "/.env"), "secrets in the image");
    assert!(read(".gitignore").lines().any(|line| line == "/.env"), "secrets in the history");
}

#[test]
fn image_and_service_agree_about_the_gateway() {
    let (compose, dockerfile) = (compose(), read("Dockerfile"));
    let service = &compose["services"]["callbridge"];
    let volume = dockerfile.lines().find_map(|line| line.strip_prefix("VOLUME "));
    let volume = volume.expect("a folder for data");
    assert!(texts(&service["volumes"]).contains(&format!("data:{volume}").as_str()));
    assert!(dockerfile.contains(&format!("CALLBRIDGE_DATABASE=sqlite:{volume}/")));
    for line in ["USER callbridge", r#"ENTRYPOINT ["callbridge"]"#, r#"CMD ["serve"]"#] {
        assert!(dockerfile.contains(line), "{line}");
    }
    assert!(
        service["command"].is_null()
            && service["entrypoint"].is_null()
            && service["user"].is_null()
    );
    let config = Config::load(&Sources::default()).expect("the defaults are right");
    let grace = service["stop_grace_period"].as_str().expect("seconds").trim_end_matches('s');
    assert!(grace.parse::<u64>().expect("seconds") >= config.grace.shutdown.as_secs() + 10);
}

#[test]
fn grafana_finds_its_source_and_its_dashboard() {
    let compose = compose();
    let provisioning = "packaging/grafana/provisioning";
    let source = yaml(&format!("{provisioning}/datasources/prometheus.yml"));
    let source = &source["datasources"][0];
    let dashboard = json("packaging/grafana/callbridge.json");
    let chosen = &dashboard["templating"]["list"][0];
    assert_eq!((&chosen["name"], &chosen["type"]), (&"datasource".into(), &"datasource".into()));
    assert_eq!(chosen["current"]["value"], source["uid"]);
    assert_eq!((&chosen["query"], &source["type"]), (&"prometheus".into(), &"prometheus".into()));
    let listens = texts(&compose["services"]["prometheus"]["command"]);
    let url = source["url"].as_str().expect("a URL");
    let at = url.strip_prefix("http://").expect("its address");
    assert!(listens.contains(&format!("--web.listen-address={at}").as_str()), "{at}");

    let provider = yaml(&format!("{provisioning}/dashboards/callbridge.yml"));
    let path = provider["providers"][0]["options"]["path"].as_str().expect("a folder");
    let grafana = &compose["services"]["grafana"];
    let mounted = format!("./packaging/grafana/callbridge.json:{path}/callbridge.json:ro");
    assert!(texts(&grafana["volumes"]).contains(&mounted.as_str()), "{mounted}");
    let home = &grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    assert_eq!(*home, format!("{path}/callbridge.json"));
}

#[test]
fn prometheus_takes_its_file_and_its_flags() {
    let output = ran(Command::new("promtool").args(["check", "config"]).arg(PROMETHEUS));
    assert!(output.status.success(), "{output:?}");
    let help = ran(Command::new("prometheus").arg("--help"));
    let help =
        String::from_utf8_lossy(&help.stdout).into_owned() + &String::from_utf8_lossy(&help.stderr);
    let compose = compose();
    for flag in texts(&compose["services"]["prometheus"]["command"]) {
        let name = flag.split('=').next().unwrap_or_default();
        assert!(help.contains(&format!("{name}=")), "{name}");
    }
}

#[test]
fn a_relay_does_not_start_without_a_secret() {
    for secret in [None, Some("")] {
        let mut command = Command::new("packaging/coturn/start");
        command.env_remove(SECRET).envs(secret.map(|secret| (SECRET, secret)));
        let output = ran(&mut command);
        assert!(!output.status.success(), "{secret:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("CALLBRIDGE_TURN_SECRET: must be set"), "{told}");
    }
}

/// The document, as data.
fn compose() -> Value {
    yaml("docker-compose.yml")
}

fn services(compose: &Value) -> Vec<(&str, &Value)> {
    let services = compose["services"].as_object().expect("services");
    services.iter().map(|(name, service)| (name.as_str(), service)).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn json(path: &str) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn ran(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} ({error}): run `make test-deps`"))
}

const PROMETHEUS: &str = "packaging/prometheus/prometheus.yml";
const SECRET: &str = "CALLBRIDGE_TURN_SECRET";
