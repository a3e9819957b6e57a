//! `callbridge doctor`: checks what a gateway needs, and says what to do about the rest.

mod extras;
mod finding;
mod https;
mod machine;
mod minds;
mod ports;
mod relays;
mod storage;
mod turn_line;

use std::process::ExitCode;

use serde_json::json;

use self::finding::Finding;
use super::{health, print};
use crate::config::{Config, Sources};

/// What `callbridge doctor` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object in place of lines.
    #[arg(long)]
    json: bool,
}

/// Checks one thing after another; the exit code is 0 unless something has failed.
///
/// Nothing is changed: no table is made, no port is kept, no model is asked for an answer.
pub(super) async fn run(sources: &Sources, args: &Args) -> ExitCode {
    let mut report = Report { as_json: args.json, findings: Vec::new() };
    match Config::load(sources) {
        Ok(config) => examine(&config, &mut report).await,
        Err(mistakes) => {
            for mistake in mistakes.0 {
                let remedy = "mend this setting: nothing else can be checked before";
                report.add(Finding::failed("settings", mistake.to_string(), remedy));
            }
        }
    }
    report.close()
}

async fn examine(config: &Config, report: &mut Report) {
    report.add_all(settings(config));
    report.add(storage::database(config).await);
    report.add_all(storage::recordings(config));
    report.add_all(storage::journals(config));
    let (http, door) = ports::http(config.listen, &health::url_of(config)).await;
    report.add(http);
    report.add_all(https::tls(config).await);
    report.add_all(https::proxies(config));
    report.add(ports::media(config, door));
    report.add(ports::ice(config));
    report.add_all(relays::all(&config.ice).await);
    report.add_all(minds::all(&config.model).await);
    report.add(machine::clock(&config.model).await);
    report.add(machine::open_files());
    report.add(machine::receive_buffer());
    report.add(machine::processors());
    report.add(extras::silero(&config.hearing).await);
    report.add(extras::daily(&config.rooms).await);
}

/// They can be read, so at most they are unwise.
fn settings(config: &Config) -> Vec<Finding> {
    if config.warnings.is_empty() {
        return vec![Finding::fine(
            "settings",
            "no mistakes; `callbridge check-config` lists them",
        )];
    }
    let remedy = "if this is not what you want, see \"Settings\" in docs/operations.md";
    let warn = |warning: &String| Finding::warning("settings", warning, remedy);
    config.warnings.iter().map(warn).collect()
}

/// What has been found so far. Lines are printed as they come.
struct Report {
    as_json: bool,
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, finding: Finding) {
        if !self.as_json {
            print::line(&finding.line());
        }
        self.findings.push(finding);
    }

    fn add_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    fn close(self) -> ExitCode {
        let failed = self.findings.iter().filter(|finding| finding.is_failed()).count();
        if self.as_json {
            let checks: Vec<_> = self.findings.iter().map(Finding::json).collect();
            print::line(&json!({ "healthy": failed == 0, "checks": checks }).to_string());
        } else if failed == 0 {
            print::line("a gateway can run here");
        } else {
            print::line(&format!("{failed} of {} checks have failed", self.findings.len()));
        }
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
