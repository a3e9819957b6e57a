//! The dashboard as data: what Grafana would ask of Prometheus.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::prometheus::read;

/// A query and the panel that asks it.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) panel: String,
    /// With its variables filled in.
    pub(crate) expression: String,
}

/// Every query, for all gateways and the last minutes.
pub(crate) fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for panel in panels(&dashboard()) {
        let title = panel["title"].as_str().expect("a title").to_owned();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            let expression = expression.replace("$__rate_interval", "5m");
            let expression = expression.replace("$instance", ".*");
            assert!(!expression.contains('$'), "a variable that nobody fills in: {expression}");
            queries.push(Query { panel: title.clone(), expression });
        }
    }
    queries
}

#[test]
fn every_panel_has_a_place_of_its_own_and_asks_the_chosen_source() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "callbridge");
    assert!(dashboard["schemaVersion"].as_u64().expect("a number") >= 38, "Grafana 10");
    assert!(dashboard["id"].is_null(), "an id is given at the import");
    let panels = panels(&dashboard);
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut cells = BTreeSet::new();
    for panel in &panels {
        let at = |side: &str| panel["gridPos"][side].as_u64().expect("a place");
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for (x, y) in (at("x")..at("x") + at("w"))
            .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert((x, y)), "{} lies over another panel", panel["title"]);
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
        }
    }
}

#[test]
fn every_metric_of_the_manual_is_shown() {
    let manual = read("docs/operations.md");
    let cells = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let metrics: Vec<&str> = cells.filter(|name| name.starts_with("callbridge_")).collect();
    assert!(metrics.len() > 30, "{metrics:?}");
    let asked: String = queries().into_iter().map(|query| query.expression + "\n").collect();
    let hidden: Vec<_> = metrics.iter().filter(|name| !asked.contains(**name)).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

fn dashboard() -> Value {
    serde_json::from_str(&read("packaging/grafana/callbridge.json")).expect("JSON")
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().expect("panels").iter().collect()
}
