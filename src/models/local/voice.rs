//! Text to speech: one sentence at a time through the `flite` command.

use std::io::Cursor;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::media::Converter;

/// The rate we speak at, in samples a second.
pub(super) const RATE: u32 = 24_000;

/// A sentence takes a tenth of a second to make; a process that takes this long has hung.
const PATIENCE: Duration = Duration::from_secs(5);

/// A voice that flite has built in.
///
/// flite takes any other name without a word and speaks with its worst voice, so names are
/// checked here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Voice {
    /// A man from the United States; the clearest to recognisers.
    #[default]
    Rms,
    /// A woman from the United States.
    Slt,
    /// A man from Scotland.
    Awb,
    /// A man from the United States, of an older make and the quickest.
    Kal16,
}

/// Why there is no voice.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    /// No program of that name.
    #[error("the `flite` command is missing: run `make deps`, or install the package `flite`")]
    NotInstalled,
    /// A voice by that name is not one of ours.
    #[error("there is no voice `{0}`: choose rms, slt, awb or kal16")]
    UnknownVoice(String),
    /// It ran, and something went wrong.
    #[error("flite failed: {0}")]
    Failed(String),
    /// It did not come to an end.
    #[error("flite took longer than {} s", PATIENCE.as_secs())]
    TooLong,
}

impl Voice {
    /// The voice called so.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rms" => Self::Rms,
            "slt" => Self::Slt,
            "awb" => Self::Awb,
            "kal16" => Self::Kal16,
            _ => return None,
        })
    }

    /// What flite calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rms => "rms",
            Self::Slt => "slt",
            Self::Awb => "awb",
            Self::Kal16 => "kal16",
        }
    }

    /// Fails if flite cannot be run at all. Blocks for some milliseconds.
    pub(super) fn check() -> Result<(), VoiceError> {
        let run = std::process::Command::new(FLITE).arg("--version").output();
        run.map(drop).map_err(|error| not_run(&error))
    }

    /// The sentence as sound at 24 kHz. Dropping the future ends the process.
    pub(super) async fn speak(self, sentence: &str) -> Result<Vec<i16>, VoiceError> {
        let making = self.make(sentence);
        let wav =
            tokio::time::timeout(PATIENCE, making).await.map_err(|_| VoiceError::TooLong)??;
        samples(wav)
    }

    async fn make(self, sentence: &str) -> Result<Vec<u8>, VoiceError> {
        // A file that only we may read, and that goes with this call: it holds speech.
        let output = tempfile::Builder::new().prefix("callbridge-voice-").suffix(".wav").tempfile();
        let output = output.map_err(|error| failed(&error))?;
        let mut flite = Command::new(FLITE)
            .args(["-voice", self.name(), "-f", "-", "-o"])
            .arg(output.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| not_run(&error))?;
        if let Some(mut stdin) = flite.stdin.take() {
            // A process that does not read says why by its exit status.
            let _ = stdin.write_all(printable(sentence).as_bytes()).await;
        }
        let run = flite.wait_with_output().await.map_err(|error| failed(&error))?;
        if !run.status.success() {
            let complaint = String::from_utf8_lossy(&run.stderr);
            return Err(VoiceError::Failed(format!("{}: {}", run.status, complaint.trim())));
        }
        tokio::fs::read(output.path()).await.map_err(|error| failed(&error))
    }
}

fn not_run(error: &std::io::Error) -> VoiceError {
    if error.kind() == std::io::ErrorKind::NotFound {
        return VoiceError::NotInstalled;
    }
    failed(error)
}

fn failed(error: &dyn std::error::Error) -> VoiceError {
    VoiceError::Failed(error.to_string())
}

fn printable(sentence: &str) -> String {
    let mut line: String = sentence.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.push('\n');
    line
}

fn samples(wav: Vec<u8>) -> Result<Vec<i16>, VoiceError> {
    let reader = hound::WavReader::new(Cursor::new(wav)).map_err(|error| failed(&error))?;
    let from = reader.spec().sample_rate;
    let samples: Result<Vec<i16>, _> = reader.into_samples().collect();
    let samples = samples.map_err(|error| failed(&error))?;
    let mut converter = Converter::new(from, RATE).map_err(|error| failed(&error))?;
    let mut sound = Vec::with_capacity(samples.len() * 3 / 2 + 1024);
    converter.convert(without_lead(&samples), &mut sound);
    converter.flush(&mut sound);
    Ok(sound)
}

/// flite begins with a pause; who waits for an answer should not wait for that.
fn without_lead(samples: &[i16]) -> &[i16] {
    let first = samples.iter().position(|sample| sample.unsigned_abs() > QUIET).unwrap_or(0);
    &samples[first.saturating_sub(LEAD_KEPT)..]
}

const FLITE: &str = "flite";
/// About -44 dB: below the softest consonant, above the noise flite makes in a pause.
const QUIET: u16 = 200;
/// 30 ms at 16 kHz.
const LEAD_KEPT: usize = 480;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sentence_becomes_sound_of_a_plausible_length() {
        for voice in [Voice::Rms, Voice::Slt, Voice::Awb, Voice::Kal16] {
            let sound = voice.speak("The quick brown fox.").await.unwrap();
            let ms = sound.len() as u64 * 1000 / u64::from(RATE);
            assert!((800..3000).contains(&ms), "{voice:?}: {ms} ms");
            assert!(sound.iter().any(|sample| sample.unsigned_abs() > 3000), "{voice:?}");
        }
    }

    #[tokio::test]
    async fn what_looks_like_an_option_is_spoken() {
        let sound = Voice::Kal16.speak("-o /dev/null; \"$(reboot)\"\u{7}").await.unwrap();
        assert!(sound.len() > 10_000);
    }

    #[test]
    fn the_pause_in_front_is_cut_short() {
        let mut samples = vec![3_i16; 4000];
        samples.extend([5000; 10]);
        assert_eq!(without_lead(&samples).len(), 490);
        assert_eq!(without_lead(&[1; 50]).len(), 50);
    }

    #[test]
    fn an_unknown_voice_is_no_voice() {
        assert_eq!(Voice::named("marin"), None);
        assert_eq!(Voice::named("slt"), Some(Voice::Slt));
    }
}
