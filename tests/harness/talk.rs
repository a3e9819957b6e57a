//! Recorded speech as a caller's packets.

use std::path::Path;

use callbridge::ids::ParticipantId;
use callbridge::media::{Converter, Encoder, Frame24k, OpusPacket};
use callbridge::sys::clock;

/// What a caller says: packets of 20 ms, and the first that is voiced.
pub(crate) struct Talk {
    pub(crate) packets: Vec<OpusPacket>,
    /// The packet with which speech begins.
    pub(crate) onset: usize,
}

impl Talk {
    /// The speech of a fixture, after half a second of silence.
    pub(crate) fn of(fixture: &str) -> Self {
        let samples = [vec![0; 12_000], read(fixture), vec![0; 24_000]].concat();
        let mut encoder = Encoder::new().expect("an encoder");
        let frames: Vec<_> = samples.chunks_exact(Frame24k::SAMPLES).map(frame).collect();
        let onset = frames.iter().position(|frame| energy(frame) > VOICED).expect("speech");
        let packet = |(number, frame): (usize, &Frame24k)| OpusPacket {
            participant: ParticipantId::new("caller"),
            sequence: u16::try_from(number).expect("short"),
            timestamp: u32::try_from(number * 960).expect("short"),
            marker: number == 0,
            payload: encoder.encode(frame),
            at: clock::now(),
        };
        Self { packets: frames.iter().enumerate().map(packet).collect(), onset }
    }

    /// The same, as it goes on after `count` packets of before.
    pub(crate) fn after(&self, count: usize) -> impl Iterator<Item = OpusPacket> + '_ {
        let ticks = u32::try_from(count * 960).expect("short");
        let count = u16::try_from(count).expect("short");
        self.packets.iter().map(move |packet| OpusPacket {
            sequence: packet.sequence + count,
            timestamp: packet.timestamp + ticks,
            marker: false,
            ..packet.clone()
        })
    }
}

fn read(fixture: &str) -> Vec<i16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/audio").join(fixture);
    let mut wav = hound::WavReader::open(path).expect("a fixture");
    let rate = wav.spec().sample_rate;
    let samples: Vec<i16> = wav.samples().map(|sample| sample.expect("a sample")).collect();
    let mut converter = Converter::new(rate, 24_000).expect("rates of speech");
    let mut converted = Vec::new();
    converter.convert(&samples, &mut converted);
    converter.flush(&mut converted);
    converted
}

fn frame(samples: &[i16]) -> Frame24k {
    let mut frame = Frame24k::SILENCE;
    frame.copy_from_slice(samples);
    frame
}

fn energy(frame: &Frame24k) -> f64 {
    let sum: f64 = frame.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (sum / 480.0).sqrt()
}

/// The level (RMS) above which a frame of these recordings is speech: about -40 dB.
const VOICED: f64 = 300.0;
