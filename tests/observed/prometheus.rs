//! A real Prometheus of a test's own, which watches one gateway by the files that we ship.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use callbridge::sys::tasks::{self, Task};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The server. Dropping it ends it.
pub(crate) struct Prometheus {
    url: String,
    web: reqwest::Client,
    /// Reads its log, so that a full pipe does not stop it.
    _log: Task,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Watches the gateway at this address, once a second.
    pub(crate) async fn watching(gateway: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = read("packaging/prometheus/prometheus.yml");
        assert!(config.contains("127.0.0.1:8080") && config.contains("_interval: 15s"));
        let config = config.replace("127.0.0.1:8080", &gateway.to_string());
        let config = config.replace("_interval: 15s", "_interval: 1s");
        let path = folder.path().join("prometheus.yml");
        std::fs::write(&path, config).expect("written");
        let rules = folder.path().join("alerts.yml");
        std::fs::write(rules, read("packaging/prometheus/alerts.yml")).expect("written");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", path.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.args(["--web.listen-address=127.0.0.1:0", "--log.format=json"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let process = command.kill_on_drop(true).spawn();
        let mut process = process.expect("no prometheus: scripts/test-deps brings it");
        let (address, log) = address_of(&mut process).await;
        let url = format!("http://{address}");
        callbridge::sys::tls::choose_cryptography();
        Self { url, web: reqwest::Client::new(), _log: log, _process: process, _folder: folder }
    }

    /// The values of an expression at this moment.
    pub(crate) async fn values(&self, expression: &str) -> Vec<f64> {
        let body = format!("query={}", escaped(expression));
        let request = self.web.post(format!("{}/api/v1/query", self.url)).body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.send().await.expect("an answer").json::<Value>().await;
        let answer = answer.expect("JSON");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let series = answer["data"]["result"].as_array().expect("a vector");
        let value =
            |one: &Value| one["value"][1].as_str().expect("text").parse().expect("a number");
        series.iter().map(value).collect()
    }

    /// Waits until an expression that compares has a value.
    pub(crate) async fn until(&self, expression: &str) {
        let seen = async {
            while self.values(expression).await.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        assert!(seen.is_ok(), "never {expression}");
    }

    /// All alert rules, once each was evaluated.
    pub(crate) async fn rules(&self) -> Vec<Value> {
        let evaluated = async {
            loop {
                let url = format!("{}/api/v1/rules", self.url);
                let answer = self.web.get(url).send().await.expect("an answer");
                let answer = answer.json::<Value>().await.expect("JSON");
                let groups = answer["data"]["groups"].as_array().expect("groups").iter();
                let rules = groups.flat_map(|group| group["rules"].as_array().expect("rules"));
                let rules: Vec<Value> = rules.cloned().collect();
                if !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown") {
                    return rules;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, evaluated).await.expect("every rule is evaluated")
    }
}

/// A file of the project.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(path).expect(path)
}

/// Where it listens, once it answers, as its log says.
async fn address_of(process: &mut Child) -> (String, Task) {
    let log = process.stderr.take().expect("its log");
    let mut lines = BufReader::new(log).lines();
    let (mut told, mut address) = (Vec::new(), None);
    while let Some(line) = lines.next_line().await.expect("text") {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        if entry["msg"] == "Listening on" {
            address = entry["address"].as_str().map(str::to_owned);
        }
        if entry["msg"] == "Server is ready to receive web requests." {
            let address = address.expect("an address");
            let rest = async move { while let Ok(Some(_)) = lines.next_line().await {} };
            return (address, tasks::spawn("its log", rest));
        }
        told.push(line);
    }
    panic!("it does not listen: {told:?}")
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"))
}

/// Between two looks at what another process does.
const PAUSE: Duration = Duration::from_millis(200);

/// Far above what a busy machine takes.
const PATIENCE: Duration = Duration::from_mins(1);
