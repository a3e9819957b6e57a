//! The files of `packaging/`, held to the program that they are about.

use std::fs;
use std::path::Path;

use callbridge::config::{Config, SETTINGS, Sources};

const UNIT: &str = "packaging/callbridge.service";

#[test]
fn the_service_has_longer_to_stop_than_its_turns_have_to_end() {
    let config = Config::load(&Sources::default()).expect("the defaults are right");
    let limit: u64 = value(UNIT, "TimeoutStopSec").parse().expect("seconds");
    assert!(limit >= config.grace.shutdown.as_secs() + 10, "{limit} s");
}

#[test]
fn the_service_may_write_to_its_own_folder_alone() {
    for (key, wanted) in [
        ("DynamicUser", "yes"),
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("StateDirectory", "callbridge"),
        ("CapabilityBoundingSet", ""),
        ("RestartPreventExitStatus", "64"),
    ] {
        assert_eq!(value(UNIT, key), wanted, "{key}");
    }
    let unit = read(UNIT);
    assert!(unit.contains("\nEnvironment=CALLBRIDGE_DATABASE=sqlite:/var/lib/callbridge/"));
}

#[test]
fn every_variable_of_the_service_is_one_that_the_program_reads() {
    let known = |name: &str| {
        let others = ["OPENAI_API_KEY", "CALLBRIDGE_CACHE"];
        others.contains(&name) || SETTINGS.iter().any(|setting| setting.env == name)
    };
    let text = read("packaging/callbridge.env") + &read(UNIT).replace("\nEnvironment=", "\n#");
    let settings = text.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let names: Vec<&str> = settings.map(|(name, _)| name).collect();
    let unknown: Vec<_> = names.iter().filter(|name| !known(name)).collect();
    assert!(names.len() > 4 && unknown.is_empty(), "{unknown:?} of {names:?}");
}

#[test]
fn the_image_asks_after_the_health_of_its_gateway() {
    let dockerfile = read("Dockerfile");
    let check = dockerfile.split("HEALTHCHECK").nth(1).expect("a health check");
    assert!(check.contains(r#"CMD ["callbridge", "health"]"#), "{check}");
}

#[test]
fn the_package_names_files_that_are_there_or_are_built() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().expect("a list");
    let sources: Vec<&str> = assets.iter().filter_map(|asset| asset[0].as_str()).collect();
    assert!(sources.contains(&"target/release/callbridge"), "{sources:?}");
    let folder = |path: &str| path.split('*').next().unwrap_or_default().to_owned();
    let is_there = |path: &&&str| path.starts_with("target/") || Path::new(&folder(path)).exists();
    let gone: Vec<_> = sources.iter().filter(|path| !is_there(path)).collect();
    assert!(gone.is_empty(), "{gone:?}");
    // Models are brought, and not packed.
    assert!(!sources.iter().any(|path| path.contains("models")), "{sources:?}");
}

/// What stands behind `KEY=` in a unit.
fn value(path: &str, key: &str) -> String {
    let text = read(path);
    let begins = format!("{key}=");
    let value = text.lines().find_map(|line| line.strip_prefix(&begins));
    value.unwrap_or_else(|| panic!("{path} has no {key}")).to_owned()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
