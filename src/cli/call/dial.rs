//! A caller for any WHIP endpoint that talks back: WAV in, WAV out.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::cli::caller::{Caller, Mark};
use crate::cli::{print, wav};
use crate::privacy::Secret;
use crate::sys::clock;

/// A call to make.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) url: String,
    pub(super) wav: PathBuf,
    pub(super) out: PathBuf,
    pub(super) token: Option<Secret>,
    pub(super) patience: Duration,
    pub(super) quiet: Duration,
}

/// Makes the call, and hangs up after the answer.
pub(super) async fn run(dial: Dial) -> anyhow::Result<()> {
    let question = wav::read(&dial.wav)?;
    let mut caller = Caller::dial(&dial.url, dial.token.as_ref()).await?;
    let begun = clock::now();
    print::line("the call is up");
    caller.say(question).await?;
    let answered = listen(&mut caller, begun, dial.patience, dial.quiet).await;
    let heard = caller.hang_up().await?;
    wav::write(&dial.out, &heard)?;
    print::line(&format!("wrote what was heard to {}", dial.out.display()));
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
