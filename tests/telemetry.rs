//! The log as a process writes it: what a panic leaves there, and what it must not.

#![expect(clippy::unwrap_used, reason = "a test whose helper fails has failed")]

use std::process::Command;

use callbridge::config::{LogConfig, LogFormat, LogLevels};
use callbridge::telemetry;

#[test]
fn a_panic_logs_its_place_and_not_what_someone_said() {
    if std::env::var_os(CHILD).is_some() {
        let config = LogConfig { format: LogFormat::Json, levels: LogLevels::default() };
        telemetry::init(&config).unwrap();
        tracing::debug!("below the level");
        panic!("cannot slice the sentence `my secret is hunter2`");
    }
    let log = log_of_this_test_in_a_process_of_its_own();
    assert!(!log.contains("hunter2") && !log.contains("below the level"), "{log}");
    let line: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], "panicked");
    assert!(line["place"].as_str().unwrap().starts_with("tests/telemetry.rs:"), "{log}");
}

/// A log is set up once per process, and this one is to be read: so the test runs itself again.
fn log_of_this_test_in_a_process_of_its_own() -> String {
    let name = "a_panic_logs_its_place_and_not_what_someone_said";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    assert!(!output.status.success(), "the child has not panicked");
    String::from_utf8(output.stderr).unwrap()
}

const CHILD: &str = "TELEMETRY_TEST_CHILD";
