//! Speech to text: the Moonshine tiny-en model in ONNX Runtime, decoded greedily.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorRef};

use super::LoadError;
use super::tokens::{END, START, Tokens, VOCABULARY};
use crate::sys::clock;

/// The rate it listens at, in samples a second.
pub(super) const RATE: usize = 16_000;

/// The model in memory.
#[derive(Debug)]
pub(super) struct Moonshine {
    encoder: Session,
    decoder: Session,
    names: Vec<CacheName>,
    tokens: Tokens,
}

/// Why there are no words.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// The deadline has passed.
    #[error("recognition took too long")]
    TooLong,
    /// The runtime refused.
    #[error("the recogniser failed: {0}")]
    Runtime(#[from] ort::Error),
}

/// One tensor of what the decoder remembers of the tokens before: what it is called going in and
/// coming out.
#[derive(Debug)]
struct CacheName {
    past: String,
    present: String,
    /// It depends on the sound alone, so the first step's value stays.
    is_of_sound: bool,
}

impl Moonshine {
    /// Reads the model's files from `folder`. Blocks for about half a second.
    pub(super) fn load(folder: &Path) -> Result<Self, LoadError> {
        for name in [RUNTIME, ENCODER, DECODER, TOKENS] {
            let path = folder.join(name);
            if !path.is_file() {
                return Err(LoadError::Missing { path });
            }
        }
        let environment = runtime(&folder.join(RUNTIME))?;
        let path = folder.join(TOKENS);
        let file = std::fs::read(&path).map_err(|error| LoadError::damaged(&path, error))?;
        let tokens = Tokens::read(&file).map_err(|error| LoadError::damaged(&path, error))?;
        Ok(Self {
            encoder: open(environment, &folder.join(ENCODER))?,
            decoder: open(environment, &folder.join(DECODER))?,
            names: cache_names(),
            tokens,
        })
    }

    /// The words in `sound`: mono, 16 kHz, -1 to 1. Blocks.
    pub(super) fn words(&mut self, sound: &[f32], by: Instant) -> Result<String, DecodeError> {
        let mut words = Vec::new();
        for piece in pieces(sound) {
            let text = self.words_of_piece(piece, by)?;
            if !text.is_empty() {
                words.push(text);
            }
        }
        Ok(words.join(" "))
    }

    fn words_of_piece(&mut self, sound: &[f32], by: Instant) -> Result<String, DecodeError> {
        let mut sound = sound.to_vec();
        sound.resize(sound.len().max(SAMPLES_MIN), 0.0);
        let samples = sound.len();
        let mask = Tensor::from_array(([1, samples], vec![1_i64; samples]))?;
        let heard = {
            let sound = Tensor::from_array(([1, samples], sound))?;
            let mut outputs = self
                .encoder
                .run(ort::inputs!["input_values" => &sound, "attention_mask" => &mask])?;
            outputs.remove("last_hidden_state").ok_or_else(no_output)?
        };
        let tokens = self.decode(&heard, &mask, tokens_max(samples), by)?;
        Ok(self.tokens.text(&tokens))
    }

    fn decode(
        &mut self,
        heard: &DynValue,
        mask: &Tensor<i64>,
        tokens_max: usize,
        by: Instant,
    ) -> Result<Vec<usize>, DecodeError> {
        let mut cache: Vec<DynValue> = Vec::with_capacity(self.names.len());
        for _ in &self.names {
            cache.push(Tensor::from_array((CACHE_SHAPE, vec![0_f32; CACHE_SIZE]))?.into_dyn());
        }
        let mut tokens = vec![];
        let mut last = START;
        while tokens.len() < tokens_max {
            if clock::now() > by {
                return Err(DecodeError::TooLong);
            }
            last = self.step(last, (heard, mask), &mut cache, tokens.is_empty())?;
            if last == END {
                break;
            }
            tokens.push(last);
            if let Some(kept) = loop_start(&tokens) {
                tokens.truncate(kept);
                break;
            }
        }
        Ok(tokens)
    }

    /// The token after `last`. The encoder mask is as long as the sound, not as what was heard in
    /// it: the graph strides through it.
    fn step(
        &mut self,
        last: usize,
        (heard, mask): (&DynValue, &Tensor<i64>),
        cache: &mut [DynValue],
        is_first: bool,
    ) -> Result<usize, ort::Error> {
        let last = [i64::try_from(last).unwrap_or(0)];
        let has_cache = [!is_first];
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = vec![
            ("input_ids", TensorRef::from_array_view(([1, 1], &last[..]))?.into()),
            ("encoder_attention_mask", mask.into()),
            ("encoder_hidden_states", heard.into()),
            ("use_cache_branch", TensorRef::from_array_view(([1], &has_cache[..]))?.into()),
        ];
        let past = self.names.iter().zip(&*cache);
        inputs.extend(past.map(|(name, value)| (name.past.as_str(), value.into())));
        let mut outputs = self.decoder.run(inputs)?;
        for (name, value) in self.names.iter().zip(cache) {
            if is_first || !name.is_of_sound {
                *value = outputs.remove(&name.present).ok_or_else(no_output)?;
            }
        }
        let (_, scores) = outputs.get("logits").ok_or_else(no_output)?.try_extract_tensor()?;
        Ok(best(&scores[scores.len().saturating_sub(VOCABULARY)..]))
    }
}

/// The runtime, which a process can load but once: what came of that stays.
fn runtime(library: &Path) -> Result<&'static Environment, LoadError> {
    static RUNTIME: OnceLock<Result<Environment, String>> = OnceLock::new();
    let load = || {
        let builder = ort::init_from(library).map_err(|error| error.to_string())?;
        builder.build().map_err(|error| error.to_string())
    };
    RUNTIME.get_or_init(load).as_ref().map_err(|error| LoadError::damaged(library, error))
}

fn open(environment: &Environment, path: &Path) -> Result<Session, LoadError> {
    let damaged = |error: ort::Error| LoadError::damaged(path, error);
    Session::builder(environment)
        .map_err(damaged)?
        .with_intra_threads(THREADS)
        .map_err(|error| damaged(error.into()))?
        .with_config_entry("session.intra_op.allow_spinning", "0")
        .map_err(|error| damaged(error.into()))?
        .commit_from_file(path)
        .map_err(damaged)
}

fn cache_names() -> Vec<CacheName> {
    let mut names = Vec::with_capacity(4 * LAYERS);
    for layer in 0..LAYERS {
        for side in ["decoder", "encoder"] {
            for part in ["key", "value"] {
                names.push(CacheName {
                    past: format!("past_key_values.{layer}.{side}.{part}"),
                    present: format!("present.{layer}.{side}.{part}"),
                    is_of_sound: side == "encoder",
                });
            }
        }
    }
    names
}

fn no_output() -> ort::Error {
    ort::Error::new("an output that the model should have is missing")
}

/// The place of the highest score.
fn best(scores: &[f32]) -> usize {
    let by_score = |a: &(usize, &f32), b: &(usize, &f32)| a.1.total_cmp(b.1);
    scores.iter().enumerate().max_by(by_score).map_or(END, |(place, _)| place)
}

/// Nobody says more tokens in the time; a decoder that does has lost itself.
fn tokens_max(samples: usize) -> usize {
    (samples * TOKENS_PER_TEN_SECONDS / (10 * RATE)).max(TOKENS_MIN)
}

/// Where the tokens should end because the decoder has begun to go round in circles.
///
/// People do say a word or two several times over; they do not say a whole phrase twice to the
/// letter, or a short one five times.
fn loop_start(tokens: &[usize]) -> Option<usize> {
    let longest = tokens.len() / 2;
    (1..=longest).find_map(|length| {
        let times = if length < PHRASE_TOKENS { SHORT_LOOP_TIMES } else { 2 };
        let start = tokens.len().checked_sub(length * times)?;
        let mut rounds = tokens[start..].chunks_exact(length);
        let first = rounds.next()?;
        rounds.all(|round| round == first).then_some(start + length)
    })
}

/// Long sound in pieces the model can take, each cut where it is quietest.
fn pieces(mut sound: &[f32]) -> Vec<&[f32]> {
    let mut pieces = Vec::new();
    while sound.len() > PIECE_MAX {
        let cut = quietest(&sound[PIECE_MIN..PIECE_MAX]) + PIECE_MIN;
        let (piece, rest) = sound.split_at(cut);
        pieces.push(piece);
        sound = rest;
    }
    pieces.push(sound);
    pieces
}

fn quietest(sound: &[f32]) -> usize {
    let energy = |window: &[f32]| window.iter().map(|sample| sample * sample).sum::<f32>();
    let windows = sound.chunks_exact(QUIET_WINDOW).map(energy).enumerate();
    let place = windows.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(place, _)| place);
    place * QUIET_WINDOW + QUIET_WINDOW / 2
}

const RUNTIME: &str = "libonnxruntime.so";
const ENCODER: &str = "encoder_model.ort";
const DECODER: &str = "decoder_model_merged.ort";
const TOKENS: &str = "tokenizer.bin";

const LAYERS: usize = 6;
/// What the first step gets for a cache; it does not look at it.
const CACHE_SHAPE: [usize; 4] = [1, 8, 1, 36];
const CACHE_SIZE: usize = 8 * 36;
const THREADS: usize = 2;
const SAMPLES_MIN: usize = RATE / 2;
const TOKENS_PER_TEN_SECONDS: usize = 65;
const TOKENS_MIN: usize = 6;
const PHRASE_TOKENS: usize = 6;
const SHORT_LOOP_TIMES: usize = 5;
const PIECE_MIN: usize = 10 * RATE;
const PIECE_MAX: usize = 15 * RATE;
/// 100 ms: shorter gaps lie within words.
const QUIET_WINDOW: usize = RATE / 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_said_twice_to_the_letter_is_a_loop() {
        let tokens = [9, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6];
        assert_eq!(loop_start(&tokens), Some(7));
        assert_eq!(loop_start(&tokens[..12]), None);
    }

    #[test]
    fn a_word_said_four_times_is_speech_and_five_times_a_loop() {
        assert_eq!(loop_start(&[8, 7, 7, 7, 7]), None);
        assert_eq!(loop_start(&[8, 7, 7, 7, 7, 7]), Some(2));
    }

    #[test]
    fn long_sound_is_cut_in_its_pause() {
        let mut sound = vec![0.5_f32; 20 * RATE];
        sound[12 * RATE..12 * RATE + 4000].fill(0.0);
        let pieces = pieces(&sound);
        assert_eq!(pieces.len(), 2);
        let cut = pieces[0].len();
        assert!((12 * RATE..12 * RATE + 4000).contains(&cut), "{cut}");
        assert_eq!(cut + pieces[1].len(), sound.len());
    }

    #[test]
    fn the_tokens_allowed_grow_with_the_sound() {
        assert_eq!((tokens_max(0), tokens_max(10 * RATE)), (6, 65));
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Moonshine::load(folder.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("libonnxruntime.so") && text.contains("make deps"), "{text}");
    }

    #[test]
    fn recorded_questions_become_their_words() {
        let mut model = Moonshine::load(&model_folder()).unwrap();
        for (name, words) in SPOKEN {
            let heard = model.words(&recording(name), far()).unwrap();
            assert_eq!(plain(&heard), words, "{name}: {heard}");
        }
    }

    #[test]
    fn recognition_stops_at_its_deadline() {
        let mut model = Moonshine::load(&model_folder()).unwrap();
        let heard = model.words(&recording("goodbye-16000hz-16bit-mono.wav"), clock::now());
        assert!(matches!(heard, Err(DecodeError::TooLong)), "{heard:?}");
    }

    #[test]
    fn a_file_that_is_no_model_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in [RUNTIME, DECODER, TOKENS] {
            std::os::unix::fs::symlink(model_folder().join(name), folder.path().join(name))
                .unwrap();
        }
        std::fs::write(folder.path().join(ENCODER), "not a model").unwrap();
        let error = Moonshine::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("encoder_model.ort is damaged"), "{error}");
    }

    const SPOKEN: [(&str, &str); 6] = [
        ("what-time-is-it-16000hz-16bit-mono.wav", "hello what time is it"),
        (
            "repeat-after-me-16000hz-16bit-mono.wav",
            "repeat after me the quick brown fox jumps over the lazy dog",
        ),
        ("my-name-is-16000hz-16bit-mono.wav", "my name is alice"),
        ("what-is-my-name-16000hz-16bit-mono.wav", "what is my name"),
        (
            "tell-me-the-weather-in-paris-16000hz-16bit-mono.wav",
            "please tell me the weather in paris",
        ),
        ("goodbye-16000hz-16bit-mono.wav", "thank you goodbye"),
    ];

    fn recording(name: &str) -> Vec<f32> {
        let path = format!("fixtures/audio/{name}");
        let samples = hound::WavReader::open(path).unwrap().into_samples::<i16>();
        samples.map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect()
    }

    fn plain(text: &str) -> String {
        let kept = |c: &char| c.is_alphanumeric() || *c == ' ';
        text.chars().filter(kept).collect::<String>().to_lowercase()
    }

    fn model_folder() -> std::path::PathBuf {
        let cache = std::env::var_os("CALLBRIDGE_CACHE").map(Into::into);
        let cache = cache.unwrap_or_else(|| {
            let home = std::env::var_os("HOME").expect("HOME is set");
            std::path::PathBuf::from(home).join(".cache/callbridge")
        });
        cache.join("models/moonshine-tiny-en-0.0.73")
    }

    fn far() -> Instant {
        clock::now() + std::time::Duration::from_mins(1)
    }
}
