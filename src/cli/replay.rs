//! `callbridge replay`: lives an agent's life again from its journal and says whether it is the
//! same, or plays a recorded caller to an agent in simulated time.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::{print, rehearsal};
use crate::media::{Manners, Wait, ms_of_24k};
use crate::rehearsal::Recorded;
use crate::runtime::{Difference, Moment, Replay, ReplaySummary};
use crate::sys::clock;

/// What `callbridge replay` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A journal, as a gateway with `journal.directory` writes it.
    #[arg(value_name = "FILE", required_unless_present = "wav")]
    journal: Option<PathBuf>,
    /// In place of a journal: what a caller says, a WAV of any rate, in simulated time.
    #[arg(long, value_name = "FILE", requires = "script", conflicts_with = "journal")]
    wav: Option<PathBuf>,
    /// What the model answers to it, as a scenario (docs/operations.md).
    #[arg(long, value_name = "FILE", requires = "wav")]
    script: Option<PathBuf>,
    /// The model of the detector `silero`, for an agent that has heard by it.
    #[arg(long, value_name = "FILE", conflicts_with = "wav")]
    silero: Option<PathBuf>,
    /// Show the first difference from both sides, and what went before it.
    #[arg(long)]
    diff: bool,
    /// Show what the agent tells its clients, with its seconds.
    #[arg(long)]
    events: bool,
}

/// The code is 0 if nothing differs, and 1 if something does or a file cannot be read.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(journal) = &args.journal {
        return live_again(journal, args);
    }
    if let (Some(wav), Some(script)) = (&args.wav, &args.script) {
        play(wav, script)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Plays a recorded caller to an agent whose model follows a script.
fn play(wav: &Path, script: &Path) -> anyhow::Result<()> {
    let samples = super::wav::read(wav)?;
    let mut script = rehearsal::read(script)?;
    let heard = Duration::from_millis(ms_of_24k(samples.len() as u64));
    script.until = Some(script.end().max(heard + AFTERMATH));
    // They begin at once, and stay on the line to the script's end.
    let (wait, stays) = (Wait::For(Duration::ZERO), Duration::MAX);
    let manners = Manners { wait, quiet: stays, patience: stays };
    rehearsal::play(script, Recorded { samples, manners }).map(drop)
}

fn live_again(journal: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let begun = clock::now();
    let mut before = VecDeque::with_capacity(CONTEXT);
    let silero = args.silero.as_deref().map(crate::app::read_silero).transpose()?;
    let summary = Replay::open_with(journal, silero)?.run(|moment| {
        if args.events {
            tell(moment);
        }
        if args.diff {
            if before.len() > CONTEXT {
                before.pop_front();
            }
            before.push_back(moment.clone());
        }
    })?;
    sum_up(&summary, clock::now().saturating_duration_since(begun));
    let Some(Difference(moment)) = &summary.difference else { return Ok(ExitCode::SUCCESS) };
    print::line(&format!("DIFFERENT from line {} on, at {}", moment.line, seconds(moment.at)));
    if args.diff {
        before.pop_back();
        show(&before, moment);
    }
    Ok(ExitCode::FAILURE)
}

/// What clients were told, of all that came out.
fn tell(moment: &Moment) {
    let told = moment.replayed.iter().filter_map(|output| output.strip_prefix("tell "));
    for told in told {
        print::line(&format!("{}  {told}", seconds(moment.at)));
    }
}

fn sum_up(summary: &ReplaySummary, took: Duration) {
    let ReplaySummary { agent, span, inputs, outputs, end, .. } = summary;
    let times = span.as_secs_f64() / took.as_secs_f64().max(f64::EPSILON);
    let took = took.as_secs_f64();
    print::line(&format!("agent    {agent}"));
    print::line(&format!("life     {}", seconds(*span).trim_start()));
    print::line(&format!("replay   {took:.3} s, {times:.0} times as fast"));
    print::line(&format!("inputs   {inputs}"));
    print::line(&format!("outputs  {outputs}"));
    if summary.difference.is_none() {
        let end = end.as_deref().unwrap_or("the journal breaks off: its process was killed");
        print::line(&format!("end      {end}"));
        print::line("the same in every output");
    }
}

/// The last inputs before a difference, and both sides of it.
fn show(before: &VecDeque<Moment>, moment: &Moment) {
    for earlier in before {
        print::line(&format!("  {}  {}", seconds(earlier.at), earlier.input(COLUMNS)));
    }
    print::line(&format!("> {}  {}", seconds(moment.at), moment.input(COLUMNS)));
    let same = moment.recorded.iter().zip(&moment.replayed).take_while(|(a, b)| a == b).count();
    for output in moment.recorded.iter().take(same) {
        print::line(&format!("    {output}"));
    }
    for output in moment.recorded.iter().skip(same) {
        print::line(&format!("  - {output}"));
    }
    for output in moment.replayed.iter().skip(same) {
        print::line(&format!("  + {output}"));
    }
    print::line("(- as recorded, + as replayed)");
}

fn seconds(at: Duration) -> String {
    format!("{:10.3} s", at.as_secs_f64())
}

/// How long a rehearsal goes on after the caller's last sound.
const AFTERMATH: Duration = Duration::from_secs(10);

/// How many inputs are shown before a difference.
const CONTEXT: usize = 5;

/// How much of an input is shown.
const COLUMNS: usize = 100;
