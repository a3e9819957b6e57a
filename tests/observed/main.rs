//! What operators see of a gateway, by the tools they see it with: a real Prometheus with the
//! scrape configuration and the alerts that we ship, and every query of the dashboard.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers may fail the test"
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../local_model/client.rs"]
#[allow(dead_code, reason = "each test program uses its part of it")]
mod model;

mod call;
mod dashboard;
mod prometheus;
mod traces;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use axum::http::Method;
use call::{Call, WEATHER};
use harness::House;
use prometheus::{Prometheus, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_sees_a_call_in_every_query_and_no_reason_to_wake_anybody() {
    let model = model::Server::start().await;
    let mut house = House::in_lanes(&model.url()).await;
    let address = house.serve().await;
    let prometheus = Prometheus::watching(address).await;
    prometheus.until(r#"callbridge_calls_ended_total{reason="requested"} == 0"#).await;

    let call = Call::answered(&house, address).await;
    prometheus.until(r#"callbridge_calls{stage="in_call"} == 1"#).await;
    prometheus.until("callbridge_participants == 1").await;
    call.leave().await;
    prometheus.until(r#"callbridge_calls_ended_total{reason="requested"} == 1"#).await;
    prometheus.until(r#"callbridge_turn_seconds_count{part="total"} >= 1"#).await;

    for query in dashboard::queries() {
        let values = prometheus.values(&query.expression).await;
        let dashboard::Query { panel, expression } = &query;
        let is_there = values.iter().any(|value| value.is_finite());
        assert!(is_there, "{panel}: {expression} gives {values:?}");
    }
    for expression in [
        r#"callbridge_tool_calls_total{outcome="completed"} == 1"#,
        r#"callbridge_agent_transitions_total{state="active"} == 1"#,
        "callbridge_speech_starts_total >= 1",
        "callbridge_zombies == 0",
    ] {
        assert_eq!(prometheus.values(expression).await.len(), 1, "{expression}");
    }
    for rule in prometheus.rules().await {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
    let metrics = house.bare(Method::GET, "/metrics").await.text;
    assert!(!metrics.contains("Paris") && !metrics.contains(WEATHER), "{metrics}");
    promtool(&["check", "metrics"], &metrics);
}

#[test]
fn the_files_for_prometheus_are_well_formed() {
    promtool(&["check", "config", "packaging/prometheus/prometheus.yml"], "");
    promtool(&["check", "rules", "packaging/prometheus/alerts.yml"], "");
}

#[test]
fn each_alert_fires_when_it_should_and_not_before() {
    let fired = read("tests/observed/alerts.yml");
    let untried: Vec<_> = alerts()
        .into_iter()
        .filter(|name| !fired.contains(&format!("alertname=\"{name}\"")))
        .collect();
    assert!(untried.is_empty(), "{untried:?}");
    promtool(&["test", "rules", "tests/observed/alerts.yml"], "");
}

#[test]
fn the_manual_has_every_alert_and_no_other() {
    let manual = read("docs/operations.md");
    let cells = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let named: BTreeSet<_> =
        cells.filter(|name| name.starts_with("Callbridge")).map(str::to_owned).collect();
    assert_eq!(named, alerts());
    assert!(manual.contains("\n### Alerts\n"), "what the alerts link to");
}

fn alerts() -> BTreeSet<String> {
    let rules = read("packaging/prometheus/alerts.yml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// Runs Prometheus' own judge, who must have nothing to say against it.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("no promtool: scripts/test-deps brings it");
    let mut stdin = process.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    let output = process.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
}
