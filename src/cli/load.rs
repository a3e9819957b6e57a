//! `callbridge load`: many calls at once against a gateway, and a report of what they measure.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use super::print;
use crate::load::road::{Detour, Jitter, Loss, RoadConfig};
use crate::load::{self, MindPlan, Plan, Progress, Report, Shape, Target, Turns};
use crate::privacy::Secret;

/// What `callbridge load` takes. Without an address it starts a gateway of its own.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many calls at once; several numbers are so many runs.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [1])]
    calls: Vec<u32>,
    /// How long figures are taken, in seconds, once all calls are up.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    duration: f64,
    /// How many calls begin each second.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    ramp: f64,
    /// How long to wait from the last call's beginning before figures are taken, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    warm_up: f64,
    /// How long SRTP, libopus and a detector alone are measured at the pace of so many calls, in
    /// seconds before the calls and again after them. 0 leaves it out.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    bare: f64,
    /// Calls in a row in place of calls that last: so many in all, `--calls` of them at once.
    #[arg(long, value_name = "N", requires = "call_seconds")]
    calls_total: Option<u32>,
    /// How long each call in a row lasts.
    #[arg(long, value_name = "SECONDS", requires = "calls_total")]
    call_seconds: Option<f64>,
    /// How many of the answers are spoken over, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.3)]
    barge_in: f64,
    /// Callers send nothing while they are silent.
    #[arg(long)]
    dtx: bool,
    /// Agents do not speak first.
    #[arg(long)]
    no_greeting: bool,
    /// Who decides when a caller's turn is over.
    #[arg(long, value_enum, default_value_t = TurnsArg::Model)]
    turns: TurnsArg,
    /// How long the built-in model thinks, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 300)]
    think_ms: u64,
    /// How long its answers are, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 4_000)]
    answer_ms: u64,
    /// How many seconds of an answer it sends each second; 0 sends all at once.
    #[arg(long, value_name = "N", default_value_t = 4.0)]
    model_speed: f64,
    /// Where the built-in model listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    model_listen: SocketAddr,
    /// The same seed gives the same conversations.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How much of the callers' datagrams is lost, each way, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "0")]
    loss: f64,
    /// By how much longer some are under way than others, each way, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    jitter: u64,
    /// How long they are under way at least, each way, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay: u64,
    /// How many come later than those sent after them, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "0")]
    reorder: f64,
    /// Call any WHIP endpoint; `{n}` in it becomes the call's number. Its model is not seen.
    #[arg(long, value_name = "URL", conflicts_with = "gateway")]
    whip: Option<String>,
    /// The token of that endpoint.
    #[arg(long, value_name = "TOKEN", requires = "whip")]
    token: Option<String>,
    /// Measure a gateway that runs, with its model at `--model-listen`.
    #[arg(long, value_name = "URL", requires = "key")]
    gateway: Option<String>,
    /// An API key of that gateway.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The process to look at, where it is not our own gateway.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Where our own gateway logs to.
    #[arg(long, value_name = "FILE")]
    gateway_log: Option<PathBuf>,
    /// Write the report as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the report as an SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write the table as Markdown, between two marks of a page if they are there.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum TurnsArg {
    /// The model's server.
    Model,
    /// The gateway.
    Gateway,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let plan = args.plan()?;
    let bar = bar();
    let mut tell = |progress: Progress| show(&bar, &progress);
    let interrupted = interrupted()?;
    let report = tokio::select! {
        report = load::run(plan, &mut tell) => Some(report),
        () = interrupted => None,
    };
    bar.finish_and_clear();
    // What runs has been dropped, and the gateway with it.
    let report = report.context("interrupted")??;
    print::line(&load::table(&report));
    args.write(&report)?;
    match report.failed() {
        0 => Ok(()),
        failed => bail!("{failed} calls have failed"),
    }
}

/// Somebody wants it to end.
fn interrupted() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

impl Args {
    fn plan(&self) -> anyhow::Result<Plan> {
        ensure!(self.calls.iter().all(|calls| *calls > 0), "--calls: at least one call");
        ensure!(self.ramp > 0.0, "--ramp: calls begin at more than 0 a second");
        ensure!((0.0..=1.0).contains(&self.barge_in), "--barge-in: a share from 0 to 1");
        ensure!(self.model_speed >= 0.0, "--model-speed: 0 or more");
        ensure!(self.answer_ms >= 100, "--answer-ms: an answer lasts at least 100 ms");
        let shape = match (self.calls_total, self.call_seconds) {
            (Some(total), Some(each)) => {
                Shape::Series { total, each: seconds("--call-seconds", each)? }
            }
            _ => Shape::Steady { duration: seconds("--duration", self.duration)? },
        };
        Ok(Plan {
            target: self.target()?,
            sizes: self.calls.clone(),
            shape,
            ramp: self.ramp,
            warm_up: seconds("--warm-up", self.warm_up)?,
            bare: seconds("--bare", self.bare)?,
            barge_in_percent: self.barge_in * 100.0,
            dtx: self.dtx,
            is_greeted: !self.no_greeting,
            road: self.road(),
            mind: MindPlan {
                think: Duration::from_millis(self.think_ms),
                answer: Duration::from_millis(self.answer_ms),
                speed: self.model_speed,
            },
            mind_listen: self.model_listen,
            turns: match self.turns {
                TurnsArg::Model => Turns::Model,
                TurnsArg::Gateway => Turns::Gateway,
            },
            seed: self.seed,
        })
    }

    /// The network, if it is to be a bad one. Jitter alone does not change the order.
    fn road(&self) -> Option<RoadConfig> {
        let road = RoadConfig {
            loss: match self.loss > 0.0 {
                true => Loss::Random { share: self.loss / 100.0 },
                false => Loss::None,
            },
            delay: Duration::from_millis(self.delay),
            jitter: match self.jitter {
                0 => Jitter::None,
                jitter => Jitter::Uniform(Duration::from_millis(jitter)),
            },
            keeps_order: true,
            detour: Detour { share: self.reorder / 100.0, by: DETOUR },
            ..RoadConfig::default()
        };
        let is_good = RoadConfig { keeps_order: true, ..RoadConfig::default() };
        let is_good = RoadConfig { detour: Detour { share: 0.0, by: DETOUR }, ..is_good };
        (road != is_good).then_some(road)
    }

    fn target(&self) -> anyhow::Result<Target> {
        let process = self.pid;
        if let Some(url) = self.whip.clone() {
            return Ok(Target::Whip { url, token: self.token.clone().map(Secret::new), process });
        }
        if let (Some(url), Some(key)) = (self.gateway.clone(), self.key.clone()) {
            return Ok(Target::Gateway { url, key: Secret::new(key), process });
        }
        ensure!(process.is_none(), "--pid: our own gateway's process is known");
        let program = std::env::current_exe().context("this program cannot be found")?;
        Ok(Target::Own { program, log: self.gateway_log.clone() })
    }

    fn write(&self, report: &Report) -> anyhow::Result<()> {
        let write = |path: &PathBuf, text: String| {
            std::fs::write(path, text)
                .with_context(|| format!("{} cannot be written", path.display()))
        };
        if let Some(path) = &self.json {
            write(path, report.to_json())?;
        }
        if let Some(path) = &self.plot {
            write(path, load::plot(report)?)?;
        }
        if let Some(path) = &self.table {
            let page = std::fs::read_to_string(path).unwrap_or_default();
            write(path, between_marks(&page, &load::table(report)))?;
        }
        Ok(())
    }
}

/// Percent, with or without the sign.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim().parse().ok();
    let percent = number.filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "from 0 to 100 percent".to_owned())
}

fn seconds(flag: &str, seconds: f64) -> anyhow::Result<Duration> {
    let duration = Duration::try_from_secs_f64(seconds);
    let duration = duration.ok().filter(|duration| *duration <= LONGEST);
    duration.with_context(|| format!("{flag}: from 0 to {} seconds", LONGEST.as_secs()))
}

/// The page with the table in its place, or the table alone.
fn between_marks(page: &str, table: &str) -> String {
    let parts = page.split_once(MARK_BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(MARK_END)?;
        Some((before, after))
    });
    match parts {
        Some((before, after)) => {
            format!("{before}{MARK_BEGIN}\n\n{table}\n\n{MARK_END}{after}")
        }
        None => format!("{table}\n"),
    }
}

/// Only people on a terminal want to see how far it is.
fn bar() -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let style = ProgressStyle::with_template("{bar:30} {elapsed} of about {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(1_000), target).with_style(style);
    bar.enable_steady_tick(REDRAW);
    bar
}

fn show(bar: &ProgressBar, progress: &Progress) {
    let Progress { calls, live, done, failed, elapsed, whole } = *progress;
    let part = elapsed.as_millis() * 1_000 / whole.as_millis().max(1);
    bar.set_position(u64::try_from(part).unwrap_or(u64::MAX).min(1_000));
    let whole = whole.as_secs();
    bar.set_message(format!("{whole} s: {live} of {calls} calls up, {done} held, {failed} failed"));
}

/// The time on the bar goes on though nothing is told.
const REDRAW: Duration = Duration::from_millis(500);

/// By how much those that are overtaken are late: by more than one packet.
const DETOUR: Duration = Duration::from_millis(30);

/// A day; a run that is meant to go on for longer is several.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

const MARK_BEGIN: &str = "<!-- load: begin -->";
const MARK_END: &str = "<!-- load: end -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_goes_between_its_marks_or_stands_alone() {
        let page = format!("a\n{MARK_BEGIN}\nold\n{MARK_END}\nb\n");
        let new = between_marks(&page, "| new |");
        assert_eq!(new, format!("a\n{MARK_BEGIN}\n\n| new |\n\n{MARK_END}\nb\n"));
        assert_eq!(between_marks(&new, "| new |"), new);
        assert_eq!(between_marks("a", "| new |"), "| new |\n");
    }

    #[test]
    fn percents_may_have_their_sign() {
        assert_eq!((percent("3%"), percent("0.5")), (Ok(3.0), Ok(0.5)));
        assert!(percent("101").is_err() && percent("few").is_err());
    }

    #[test]
    fn a_duration_that_is_none_is_told_by_its_flag() {
        assert_eq!(seconds("--x", 1.5).unwrap(), Duration::from_millis(1_500));
        for wrong in [-1.0, f64::NAN, 1e9] {
            assert!(seconds("--x", wrong).unwrap_err().to_string().starts_with("--x"));
        }
    }
}
