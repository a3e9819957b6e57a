//! What was recorded in a call, as words; and recordings as microphones give them.

use std::path::Path;

use callbridge::media::Converter;
use callbridge::models::local::{LocalModel, LocalModelConfig};
use callbridge::models::wire::pcm_to_base64;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::gateway::PATIENCE;
use super::peer::cache;

/// The words that the local model's recogniser hears in a WAV.
pub(crate) async fn words_in(path: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1/realtime?model=local", listener.local_addr().unwrap());
    let dir = cache().join("models/moonshine-tiny-en-0.0.73");
    let config = LocalModelConfig { dir, ..LocalModelConfig::default() };
    let _serving = LocalModel::load(config).unwrap().serve(listener);
    let mut scribe = Scribe { socket: connect_async(url).await.unwrap().0 };
    let turns = json!({"type": "server_vad", "create_response": false});
    let input = json!({"transcription": {"model": "moonshine"}, "turn_detection": turns});
    let session = json!({"type": "realtime", "audio": {"input": input}});
    scribe.send(json!({"type": "session.update", "session": session})).await;
    // Without silence in front the first words are lost; that behind ends the last turn.
    let samples = [vec![0; 12_000], read(path, 24_000), vec![0; 24_000]].concat();
    for chunk in samples.chunks(480) {
        let audio = pcm_to_base64(chunk);
        scribe.send(json!({"type": "input_audio_buffer.append", "audio": audio})).await;
    }
    scribe.read_all().await
}

/// How many of the words in `said` were not heard, each as often as it was said.
pub(crate) fn missed(said: &str, heard: &str) -> Vec<String> {
    let mut heard = plain_words(heard);
    let mut said = plain_words(said);
    said.retain(|word| match heard.iter().position(|other| other == word) {
        Some(at) => {
            heard.swap_remove(at);
            false
        }
        None => true,
    });
    said
}

/// Writes a recording as a browser's fake microphone wants it: at 48 kHz, silence around it.
///
/// The browser plays it again and again, so a slow machine that is late for the first time gets
/// the second.
pub(crate) fn write_microphone(from: &Path, to: &Path) {
    write_microphone_after(2, from, to);
}

/// The same, with so many seconds of silence before the first word.
#[allow(dead_code, reason = "each test program uses its part of it")]
pub(crate) fn write_microphone_after(seconds: usize, from: &Path, to: &Path) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(to, spec).unwrap();
    let silence = |seconds: usize| std::iter::repeat_n(0, seconds * 48_000);
    for sample in silence(seconds).chain(read(from, 48_000)).chain(silence(14 - seconds)) {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
}

/// Writes what was recorded before a sample, and what after it, to files of their own.
pub(crate) fn cut(from: &Path, at: u64, before: &Path, after: &Path) {
    let reader = hound::WavReader::open(from).unwrap();
    let spec = reader.spec();
    let samples: Vec<i16> = reader.into_samples().map(Result::unwrap).collect();
    let (first, second) = samples.split_at(usize::try_from(at).unwrap().min(samples.len()));
    for (part, path) in [(first, before), (second, after)] {
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for sample in part {
            writer.write_sample(*sample).unwrap();
        }
        writer.finalize().unwrap();
    }
}

/// How high a voice is, in hertz: the middle of what its loud moments are.
pub(crate) fn pitch(path: &Path) -> f64 {
    const RATE: u32 = 8_000;
    let samples: Vec<f64> = read(path, RATE).into_iter().map(f64::from).collect();
    // 40 ms hold three waves of the lowest voice.
    let loud = samples.chunks_exact(320).filter(|frame| power(frame) > 500.0 * 500.0);
    let mut pitches: Vec<f64> = loud.filter_map(pitch_of).collect();
    assert!(pitches.len() > 10, "{} has no voice", path.display());
    pitches.sort_by(f64::total_cmp);
    f64::from(RATE) / pitches[pitches.len() / 2]
}

/// The length of the wave in a frame, in samples, if it has one.
fn pitch_of(frame: &[f64]) -> Option<f64> {
    let likeness = |lag: usize| {
        let pairs = frame.iter().zip(&frame[lag..]).map(|(a, b)| a * b);
        pairs.sum::<f64>() / f64::from(u32::try_from(frame.len() - lag).unwrap())
    };
    // From 70 to 320 hertz.
    let best = (25..115_usize).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b)))?;
    (likeness(best) > 0.6 * power(frame)).then(|| f64::from(u32::try_from(best).unwrap()))
}

fn power(frame: &[f64]) -> f64 {
    frame.iter().map(|sample| sample * sample).sum::<f64>()
        / f64::from(u32::try_from(frame.len()).unwrap())
}

struct Scribe {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Scribe {
    async fn send(&mut self, event: Value) {
        self.socket.send(Message::text(event.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await.expect("an event comes");
            if let Message::Text(text) = message.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// All that was said in what was sent. A question that cannot be answered marks the end: by
    /// the time it is refused, all turns are known.
    async fn read_all(&mut self) -> String {
        self.send(json!({"type": "conversation.item.retrieve", "item_id": "the-end"})).await;
        let (mut turns, mut texts, mut is_all) = (0, Vec::new(), false);
        while !is_all || texts.len() < turns {
            let event = self.next().await;
            match event["type"].as_str().unwrap() {
                "input_audio_buffer.committed" => turns += 1,
                "conversation.item.input_audio_transcription.completed" => {
                    texts.push(event["transcript"].as_str().unwrap().to_owned());
                }
                "conversation.item.input_audio_transcription.failed" => panic!("{event}"),
                "error" => {
                    assert_eq!(event["error"]["param"], "item_id", "{event}");
                    is_all = true;
                }
                _ => {}
            }
        }
        texts.join(" ")
    }
}

fn read(path: &Path, rate: u32) -> Vec<i16> {
    let reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    assert_eq!(spec.channels, 1);
    let samples: Vec<i16> = reader.into_samples().map(Result::unwrap).collect();
    let mut converter = Converter::new(spec.sample_rate, rate).unwrap();
    let mut converted = Vec::new();
    converter.convert(&samples, &mut converted);
    converter.flush(&mut converted);
    converted
}

fn plain_words(text: &str) -> Vec<String> {
    let split = text.split(|c: char| !c.is_alphanumeric() && c != '\'');
    split.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}
