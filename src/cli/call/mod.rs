//! `callbridge call`: one call. A recorded caller calls a WHIP endpoint, or, with `--room`, an
//! agent joins any room; a recorded caller's room is rehearsed in simulated time.

mod dial;
mod visit;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;

use self::dial::Dial;
use self::visit::Visit;
use super::{print, rehearsal};
use crate::agent::RoomFailure;
use crate::config::Config;
use crate::privacy::Secret;
use crate::rehearsal::{Ask, Recorded, Script};
use crate::rooms::{Recording, RoomUrl};

/// What `callbridge call` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The WHIP endpoint, for example http://127.0.0.1:8080/rooms/hello/whip
    #[arg(required_unless_present = "room", conflicts_with = "room")]
    url: Option<String>,
    /// What to say there: a WAV of any rate.
    #[arg(long, value_name = "FILE", required_unless_present = "room", conflicts_with = "room")]
    wav: Option<PathBuf>,
    /// Where to write what was heard there: a WAV at 24 kHz.
    #[arg(long, value_name = "FILE", default_value = "heard.wav", conflicts_with = "room")]
    out: PathBuf,
    /// The room's token.
    #[arg(long)]
    token: Option<String>,
    /// How long the other side may take to begin to answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, conflicts_with = "room")]
    patience: u64,
    /// How long the other side must be silent before the caller hangs up, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1_500, conflicts_with = "room")]
    quiet_ms: u64,
    /// In place of an endpoint: a room of any kind (docs/rooms.md), which an agent joins. With
    /// `wav:PATH?out=PATH` it answers a recorded caller, in simulated time and by a script, or,
    /// with `--model`, in real time and by that model.
    #[arg(long, value_name = "URL")]
    room: Option<String>,
    /// What the agent is to do.
    #[arg(long, value_name = "TEXT", requires = "room", conflicts_with = "url")]
    instructions: Option<String>,
    /// What the agent says when it has come in.
    #[arg(long, value_name = "TEXT", requires = "room", conflicts_with = "url")]
    greeting: Option<String>,
    /// What the model answers a recorded caller, as a scenario (docs/operations.md).
    #[arg(long, value_name = "FILE", requires = "room")]
    #[arg(conflicts_with_all = ["url", "CALLBRIDGE_MODEL"])]
    script: Option<PathBuf>,
    /// When the agent leaves, if it is still there then.
    #[arg(long, value_name = "SECONDS", requires = "room", conflicts_with = "url")]
    seconds: Option<u64>,
    /// Whether the model was chosen on the command line.
    #[arg(skip)]
    pub(super) is_model_named: bool,
}

pub(super) async fn run(config: Config, args: Args) -> anyhow::Result<()> {
    let token = args.token.clone().map(Secret::new);
    let (room, script) = match (args.room.clone(), args.url.clone(), args.wav.clone()) {
        (None, Some(url), Some(wav)) => {
            let patience = Duration::from_secs(args.patience);
            let quiet = Duration::from_millis(args.quiet_ms);
            return dial::run(Dial { url, wav, out: args.out, token, patience, quiet }).await;
        }
        (Some(room), ..) => (room, args.script.as_deref()),
        (None, ..) => bail!("whom to call?"),
    };
    match (RoomUrl::parse(&room).map_err(refused)?, script) {
        (RoomUrl::Recorded(recording), None) if !args.is_model_named => {
            rehearse(&recording, Script::parse(&ANSWER.repeat(ANSWERS))?, &args)
        }
        (RoomUrl::Recorded(recording), Some(script)) => {
            rehearse(&recording, rehearsal::read(script)?, &args)
        }
        (_, Some(_)) => bail!("a script is for recorded callers: wav:PATH"),
        (_, None) => {
            let Args { instructions, greeting, seconds, .. } = args;
            let seconds = seconds.map(Duration::from_secs);
            visit::run(config, Visit { room, token, instructions, greeting, seconds }).await
        }
    }
}

/// A recorded caller and an agent in simulated time, whose model follows a script.
fn rehearse(recording: &Recording, mut script: Script, args: &Args) -> anyhow::Result<()> {
    let samples = recording.read().map_err(refused)?;
    let record = recording.record().map_err(refused)?;
    let agent = &mut script.agent;
    if let Some(instructions) = &args.instructions {
        agent.instructions.clone_from(instructions);
    }
    if args.greeting.is_some() {
        agent.model.greeting.clone_from(&args.greeting);
    }
    if let Some(seconds) = args.seconds.map(Duration::from_secs) {
        script.asks.push((seconds, Ask::Leave));
        script.until = Some(seconds);
    }
    let recorded = Recorded { samples, manners: recording.manners };
    let rehearsed = rehearsal::play(script, recorded)?;
    if let (Some(mut record), Some(out)) = (record, &recording.out) {
        let written = record.write(&rehearsed.heard);
        written.and_then(|()| record.finish()).map_err(refused)?;
        print::line(&format!("wrote what was heard to {}", out.display()));
    }
    Ok(())
}

/// Why a room is not to be had, with the code that clients see.
fn refused(failure: RoomFailure) -> anyhow::Error {
    let code = failure.code();
    anyhow::Error::new(failure).context(code)
}

/// What the model of a rehearsal answers, if nobody says; the words are those of its voice.
const ANSWER: &str = "model audio 2 s \"Tell me the weather in Paris.\"\n";

/// How often it answers so.
const ANSWERS: usize = 100;
