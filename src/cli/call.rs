//! `callbridge call`: a caller for any WHIP endpoint that talks back; WAV in, WAV out.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::caller::{Caller, Mark};
use super::{print, wav};
use crate::privacy::Secret;
use crate::sys::clock;

/// What `callbridge call` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The WHIP endpoint, for example http://127.0.0.1:8080/rooms/hello/whip
    url: String,
    /// What to say: a WAV of any rate.
    #[arg(long, value_name = "FILE")]
    wav: PathBuf,
    /// Where to write what was heard: a WAV at 24 kHz.
    #[arg(long, value_name = "FILE", default_value = "heard.wav")]
    out: PathBuf,
    /// The room's token.
    #[arg(long)]
    token: Option<String>,
    /// How long the other side may take to begin to answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    patience: u64,
    /// How long the other side must be silent before the caller hangs up, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1_500)]
    quiet_ms: u64,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let question = wav::read(&args.wav)?;
    let token = args.token.map(Secret::new);
    let mut caller = Caller::dial(&args.url, token.as_ref()).await?;
    let begun = clock::now();
    print::line("the call is up");
    caller.say(question).await?;
    let patience = Duration::from_secs(args.patience);
    let answered = listen(&mut caller, begun, patience, Duration::from_millis(args.quiet_ms)).await;
    let heard = caller.hang_up().await?;
    wav::write(&args.out, &heard)?;
    print::line(&format!("wrote what was heard to {}", args.out.display()));
    answered
}

/// Waits until the question is said, the answer has come, and silence has followed it.
async fn listen(
    caller: &mut Caller,
    begun: Instant,
    patience: Duration,
    quiet: Duration,
) -> anyhow::Result<()> {
    let (mut said, mut speaking, mut answered) = (false, false, false);
    loop {
        let wait = match (said, speaking, answered) {
            (true, false, true) => quiet,
            (true, false, false) => patience,
            _ => LONGEST,
        };
        let Ok(mark) = tokio::time::timeout(wait, caller.mark()).await else {
            if answered && !speaking {
                return Ok(());
            }
            bail!("nobody answered within {wait:?}");
        };
        match mark {
            None | Some(Mark::Lost) => bail!("the call was lost"),
            Some(Mark::Said(at)) => {
                said = true;
                tell(begun, at, "said everything");
            }
            Some(Mark::SpeechStarted(at)) => {
                (speaking, answered) = (true, said);
                tell(begun, at, "the other side speaks");
            }
            Some(Mark::SpeechStopped(at)) => {
                speaking = false;
                tell(begun, at, "the other side is silent");
            }
            Some(Mark::FirstPacket(_)) => {}
        }
    }
}

fn tell(begun: Instant, at: Instant, what: &str) {
    let seconds = at.saturating_duration_since(begun).as_secs_f64();
    print::line(&format!("{seconds:8.3} s  {what}"));
}

/// The longest question, and the longest answer.
const LONGEST: Duration = Duration::from_secs(300);
