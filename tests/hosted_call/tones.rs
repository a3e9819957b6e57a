//! Tones to speak with, and ears that tell them apart.

use std::f32::consts::TAU;

use callbridge::media::{Decoder, Encoder, Frame24k, OpusPacket};
use tokio::sync::mpsc;

use super::packet;

/// A speaker of one pure tone.
pub(crate) struct Tone {
    hertz: f32,
    encoder: Encoder,
    number: u16,
}

impl Tone {
    pub(crate) fn new(hertz: f32) -> Self {
        Self { hertz, encoder: Encoder::new().unwrap(), number: 0 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a tone of test strength")]
    pub(crate) fn next(&mut self) -> OpusPacket {
        let start = f32::from(self.number) * 480.0;
        let frame = Frame24k::new(std::array::from_fn(|sample| {
            let time = (start + f32::from(u16::try_from(sample).unwrap())) / 24_000.0;
            ((time * self.hertz * TAU).sin() * 6000.0) as i16
        }));
        self.number += 1;
        OpusPacket { payload: self.encoder.encode(&frame), ..packet(self.number) }
    }
}

/// What someone has heard.
pub(crate) struct Recording {
    decoder: Decoder,
    pub(crate) samples: Vec<i16>,
    sequences: Vec<u16>,
}

impl Recording {
    pub(crate) fn new() -> Self {
        let decoder = Decoder::new().unwrap();
        Self { decoder, samples: Vec::new(), sequences: Vec::new() }
    }

    pub(crate) fn take(&mut self, packets: &mut mpsc::Receiver<OpusPacket>) {
        while let Ok(packet) = packets.try_recv() {
            self.sequences.push(packet.sequence);
            self.decoder.decode(&packet.payload).unwrap();
            while let Some(frame) = self.decoder.pull() {
                self.samples.extend(frame.iter());
            }
        }
    }

    pub(crate) fn is_continuous(&self) -> bool {
        self.sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1))
    }

    /// Whether a tone is in the last second.
    pub(crate) fn has(&self, hertz: f32) -> bool {
        self.strength(hertz) > 800.0
    }

    /// How strong a tone is in the last second (Goertzel's sum, written plainly).
    pub(crate) fn strength(&self, hertz: f32) -> f32 {
        let last = &self.samples[self.samples.len() - 24_000..];
        let (mut sine, mut cosine, mut count) = (0.0, 0.0, 0.0_f32);
        for sample in last {
            let angle = count / 24_000.0 * hertz * TAU;
            sine += angle.sin() * f32::from(*sample);
            cosine += angle.cos() * f32::from(*sample);
            count += 1.0;
        }
        sine.hypot(cosine) * 2.0 / count
    }
}
