//! Between a telephone's sound and the house's: G.711 to Opus and back, packet by packet.
//!
//! Opus codes at 8 kHz itself, so nothing is resampled. Each packet becomes one of the same length,
//! so that its place and time in the stream, and every gap, stay what they were.

use std::fmt;

use ::opus::{Application, Bitrate, Channels, Repacketizer, Signal};
use bytes::Bytes;

use super::g711::Law;
use super::opus::{CodecError, MalformedPayload, PayloadPool};
use super::packet::PAYLOAD_MAX;

/// RTP ticks of the house in one of a telephone's: 48 kHz and 8 kHz.
pub const TICKS_PER_TELEPHONE_TICK: u32 = 6;

/// A telephone's packets to Opus; 6.5 ms late (lookahead).
pub struct TelephoneIn {
    law: Law,
    encoder: ::opus::Encoder,
    repacketizer: Repacketizer,
    samples: Box<[i16; PACKET_SAMPLES_MAX]>,
    scratch: Box<[u8; PAYLOAD_MAX]>,
    payloads: PayloadPool,
}

impl TelephoneIn {
    /// Makes an encoder (25 µs).
    pub fn new(law: Law) -> Result<Self, CodecError> {
        let mut encoder = ::opus::Encoder::new(RATE, Channels::Mono, Application::Voip)?;
        encoder.set_complexity(COMPLEXITY)?;
        encoder.set_bitrate(Bitrate::Bits(BITS_PER_SECOND))?;
        // Parts of one packet must be of one mode, and this keeps to the one for speech.
        encoder.set_signal(Signal::Voice)?;
        Ok(Self {
            law,
            encoder,
            repacketizer: Repacketizer::new()?,
            samples: Box::new([0; PACKET_SAMPLES_MAX]),
            scratch: Box::new([0; PAYLOAD_MAX]),
            payloads: PayloadPool::new(),
        })
    }

    /// The same sound as Opus, in steps of 10 ms up to 120 ms; what is beyond a whole step is left
    /// out. `None` if there is none.
    pub fn convert(&mut self, payload: &[u8]) -> Option<Bytes> {
        let steps = payload.len().min(PACKET_SAMPLES_MAX) / STEP_SAMPLES;
        let (samples, law) = (&mut self.samples[..steps * STEP_SAMPLES], self.law);
        for (sample, byte) in samples.iter_mut().zip(payload) {
            *sample = law.decode(*byte);
        }
        let length = match steps {
            0 => return None,
            1 | 2 | 4 | 6 => self.encoder.encode(samples, &mut self.scratch[..]).ok()?,
            _ => self.encode_in_steps(steps)?,
        };
        Some(self.payloads.put(&self.scratch[..length]))
    }

    /// Opus has no frame of 30 ms, so a packet is made of several.
    fn encode_in_steps(&mut self, steps: usize) -> Option<usize> {
        let mut parts = [[0_u8; STEP_BYTES_MAX]; STEPS_MAX];
        let mut packets: [&[u8]; STEPS_MAX] = [&[]; STEPS_MAX];
        let steps_of_sound = self.samples.chunks_exact(STEP_SAMPLES).take(steps);
        for ((samples, part), packet) in steps_of_sound.zip(&mut parts).zip(&mut packets) {
            let length = self.encoder.encode(samples, part).ok()?;
            *packet = &part[..length];
        }
        self.repacketizer.combine(&packets[..steps], &mut self.scratch[..]).ok()
    }
}

impl fmt::Debug for TelephoneIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelephoneIn").field("law", &self.law).finish_non_exhaustive()
    }
}

/// Opus to what a telephone takes.
pub struct TelephoneOut {
    law: Law,
    decoder: ::opus::Decoder,
    samples: Box<[i16; PACKET_SAMPLES_MAX]>,
    scratch: Box<[u8; PACKET_SAMPLES_MAX]>,
    payloads: PayloadPool,
}

impl TelephoneOut {
    /// Makes a decoder (50 µs, 30 kB).
    pub fn new(law: Law) -> Result<Self, CodecError> {
        Ok(Self {
            law,
            decoder: ::opus::Decoder::new(RATE, Channels::Mono)?,
            samples: Box::new([0; PACKET_SAMPLES_MAX]),
            scratch: Box::new([0; PACKET_SAMPLES_MAX]),
            payloads: PayloadPool::new(),
        })
    }

    /// The same sound as G.711, one byte a sample at 8 kHz.
    pub fn convert(&mut self, payload: &[u8]) -> Result<Bytes, MalformedPayload> {
        let length = self.decoder.decode(payload, &mut self.samples[..], false)?;
        let coded = &mut self.scratch[..length];
        for (byte, sample) in coded.iter_mut().zip(self.samples.iter()) {
            *byte = self.law.encode(*sample);
        }
        Ok(self.payloads.put(coded))
    }
}

impl fmt::Debug for TelephoneOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelephoneOut").field("law", &self.law).finish_non_exhaustive()
    }
}

/// A telephone's rate, in hertz.
const RATE: u32 = 8_000;

/// The longest packet: 120 ms, as in Opus.
const PACKET_SAMPLES_MAX: usize = 960;

/// The step in which lengths are taken: 10 ms.
const STEP_SAMPLES: usize = 80;
const STEPS_MAX: usize = PACKET_SAMPLES_MAX / STEP_SAMPLES;

/// A step's part of a packet at three times the usual rate.
const STEP_BYTES_MAX: usize = 96;

/// Good speech at two thirds of the effort of the best, as elsewhere in the house.
const COMPLEXITY: i32 = 5;

/// More than enough for the band of a telephone: its own noise is louder than what this adds.
const BITS_PER_SECOND: i32 = 24_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::opus::{Decoder, Encoder};
    use crate::media::testing::{energy, sine, tone};
    use crate::media::{Frame24k, fec_samples};

    #[test]
    fn packets_of_every_usual_length_keep_it() {
        for ms in [10, 20, 30, 40, 50, 60, 120] {
            let mut telephone = TelephoneIn::new(Law::Mu).unwrap();
            let mut decoder = Decoder::new().unwrap();
            for samples in sine(440.0, 8000.0, 8_000, 9_600).chunks_exact(ms * 8) {
                let payload = telephone.convert(&coded(Law::Mu, samples)).unwrap();
                assert_eq!(decoder.decode(&payload).unwrap(), ms * 24, "{ms} ms");
                while decoder.pull().is_some() {}
                assert_eq!(fec_samples(&payload), 0, "there is no loss to prepare for");
            }
        }
    }

    #[test]
    fn a_tone_keeps_its_level_on_the_way_in() {
        for law in [Law::Mu, Law::A] {
            for ms in [20, 30] {
                let mut telephone = TelephoneIn::new(law).unwrap();
                let (mut decoder, mut heard) = (Decoder::new().unwrap(), Vec::new());
                for samples in sine(440.0, 8000.0, 8_000, 16_000).chunks_exact(ms * 8) {
                    let payload = telephone.convert(&coded(law, samples)).unwrap();
                    decoder.decode(&payload).unwrap();
                    heard.extend(std::iter::from_fn(|| decoder.pull()).flat_map(|frame| *frame));
                }
                let ratio = share(&heard[4800..], 440.0, 24_000.0);
                assert!(ratio > 0.98, "{law:?} {ms} ms: {ratio} of it is the tone");
                let level = energy(&heard[4800..]) / (8000.0_f64.powi(2) / 2.0);
                assert!((0.8..1.25).contains(&level), "{law:?} {ms} ms: {level}");
            }
        }
    }

    #[test]
    fn a_tone_keeps_its_level_on_the_way_out() {
        for law in [Law::Mu, Law::A] {
            let (mut encoder, mut telephone) =
                (Encoder::new().unwrap(), TelephoneOut::new(law).unwrap());
            let mut heard: Vec<i16> = Vec::new();
            for frame in tone(440.0, 8000.0, 48_000).as_chunks::<480>().0 {
                let payload = encoder.encode(&Frame24k::new(*frame));
                let coded = telephone.convert(&payload).unwrap();
                assert_eq!(coded.len(), 160);
                heard.extend(coded.iter().map(|byte| law.decode(*byte)));
            }
            let ratio = share(&heard[1600..], 440.0, 8_000.0);
            assert!(ratio > 0.98, "{law:?}: {ratio} of it is the tone");
            let level = energy(&heard[1600..]) / (8000.0_f64.powi(2) / 2.0);
            assert!((0.8..1.25).contains(&level), "{law:?}: {level}");
        }
    }

    #[test]
    fn too_little_and_too_much_hurt_nobody() {
        let mut telephone = TelephoneIn::new(Law::A).unwrap();
        assert_eq!(telephone.convert(&[]), None);
        assert_eq!(telephone.convert(&[0xD5; 79]), None);
        let mut decoder = Decoder::new().unwrap();
        assert_eq!(decoder.decode(&telephone.convert(&[0xD5; 90]).unwrap()).unwrap(), 240);
        assert_eq!(decoder.decode(&telephone.convert(&[3; 5000]).unwrap()).unwrap(), 2880);
        assert!(TelephoneOut::new(Law::A).unwrap().convert(&[0xFF; 3]).is_err());
    }

    fn coded(law: Law, samples: &[i16]) -> Vec<u8> {
        samples.iter().map(|sample| law.encode(*sample)).collect()
    }

    /// How much of a sound's energy is a pure tone (Goertzel's sum, written plainly).
    fn share(samples: &[i16], hertz: f64, rate: f64) -> f64 {
        let (mut sine, mut cosine, mut count) = (0.0, 0.0, 0.0_f64);
        for sample in samples {
            let angle = count / rate * hertz * std::f64::consts::TAU;
            sine += angle.sin() * f64::from(*sample);
            cosine += angle.cos() * f64::from(*sample);
            count += 1.0;
        }
        let height = sine.hypot(cosine) * 2.0 / count;
        height * height / 2.0 / energy(samples)
    }
}
