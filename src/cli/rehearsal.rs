//! An agent and a recorded caller in simulated time, as commands print it.

use std::path::Path;

use anyhow::Context as _;

use super::{print, wav};
use crate::rehearsal::{Cast, Recorded, Rehearsed, Script, rehearse};
use crate::sys::clock;

/// Reads what the model answers.
pub(super) fn read(script: &Path) -> anyhow::Result<Script> {
    let text = std::fs::read_to_string(script);
    let text = text.with_context(|| format!("{} cannot be read", script.display()))?;
    Ok(Script::parse(&text)?)
}

/// Plays the call, and prints what has happened and how fast that was.
pub(super) fn play(script: Script, recorded: Recorded) -> anyhow::Result<Rehearsed> {
    let agent = wav::read_from(AGENT, "the agent's voice")?;
    let human = recorded.samples.clone();
    let begun = clock::now();
    let rehearsed = rehearse(script, Cast { human, agent, recorded: Some(recorded) }, begun)?;
    let took = clock::now().saturating_duration_since(begun).as_secs_f64();
    for line in rehearsed.timeline.to_string().lines() {
        print::line(line);
    }
    let lasted = rehearsed.lasted.as_secs_f64();
    let times = lasted / took.max(f64::EPSILON);
    print::line(&format!("({lasted:.3} s, rehearsed in {took:.3} s: {times:.0} times as fast)"));
    Ok(rehearsed)
}

/// What an agent in a rehearsal says, whatever its words.
const AGENT: &[u8] =
    include_bytes!("../../fixtures/audio/tell-me-the-weather-in-paris-16000hz-16bit-mono.wav");
