//! What callers say in these tests, as the packets that a browser would make of it.

use bytes::Bytes;
use callbridge::ids::ParticipantId;
use callbridge::media::{Converter, Encoder, Frame24k, OpusPacket, RTP_TICKS_PER_FRAME};

/// All sentences of the fixtures, each with a second of silence after it.
pub(crate) fn sentences() -> Vec<i16> {
    let said = SENTENCES.iter().flat_map(|name| [recording(name), vec![0; 24_000]].concat());
    let mut said: Vec<i16> = said.collect();
    said.resize(said.len().next_multiple_of(Frame24k::SAMPLES), 0);
    said
}

/// Sound at 24 kHz as payloads of 20 ms each, made for this loss.
pub(crate) fn payloads(sound: &[i16], loss_percent: u8) -> Vec<Bytes> {
    let mut encoder = Encoder::new().expect("an encoder");
    encoder.set_loss_percent(loss_percent);
    let (frames, _) = sound.as_chunks::<480>();
    frames.iter().map(|samples| encoder.encode(&Frame24k::new(*samples))).collect()
}

/// The packet with this number, of payloads that are said again and again.
pub(crate) fn packet(payloads: &[Bytes], number: usize) -> OpusPacket {
    let number_32 = u32::try_from(number).expect("an hour is short");
    OpusPacket {
        participant: ParticipantId::new("caller"),
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
        sequence: number as u16,
        timestamp: number_32.wrapping_mul(RTP_TICKS_PER_FRAME),
        marker: number == 0,
        payload: payloads[number % payloads.len()].clone(),
        at: callbridge::sys::clock::now(),
    }
}

pub(crate) fn recording(name: &str) -> Vec<i16> {
    let path = format!("fixtures/audio/{name}-16000hz-16bit-mono.wav");
    let mut wav = hound::WavReader::open(path).expect("a fixture");
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a sample")).collect();
    let mut converter = Converter::new(wav.spec().sample_rate, 24_000).expect("usual rates");
    let mut converted = Vec::new();
    converter.convert(&samples, &mut converted);
    converter.flush(&mut converted);
    converted
}

/// A row of the table that `--nocapture` shows.
#[expect(clippy::print_stdout, reason = "for whoever runs it to see")]
pub(crate) fn print(line: &str) {
    println!("{line}");
}

const SENTENCES: [&str; 6] = [
    "what-time-is-it",
    "my-name-is",
    "repeat-after-me",
    "what-is-my-name",
    "tell-me-the-weather-in-paris",
    "goodbye",
];
