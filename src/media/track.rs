//! One stream as whoever listens to it would record it: its sound, and silence where none came.

use std::time::{Duration, Instant};

use super::frame::HOUSE_RATE;
use super::opus::{CodecError, Decoder};
use super::packet::OpusPacket;

/// Puts a stream's packets where they belong on one track at 24 kHz that begins at an instant.
///
/// Within the stream RTP time decides, so the track is right to the sample however unevenly
/// packets come. Where RTP time and the clock disagree, a new stream has begun, and the clock
/// decides once. What is late is never in the way of what came after it: it is appended.
#[derive(Debug)]
pub struct Track {
    decoder: Decoder,
    begun: Instant,
    /// How long the track is, in samples.
    length: u64,
    anchor: Option<Anchor>,
}

/// An RTP time, and the sample of the track that it is.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    timestamp: u32,
    place: u64,
}

impl Track {
    /// An empty track whose first sample is at this instant.
    pub fn new(begun: Instant) -> Result<Self, CodecError> {
        Ok(Self { decoder: Decoder::new()?, begun, length: 0, anchor: None })
    }

    /// Appends a packet's sound, and before it the silence since the last; tells whether the
    /// packet can be heard. What is not Opus is silence.
    pub fn push(&mut self, packet: &OpusPacket, now: Instant, track: &mut Vec<i16>) -> bool {
        let place = self.place(packet.timestamp, now);
        self.fill(place, track);
        let is_sound = !packet.payload.is_empty() && self.decoder.decode(&packet.payload).is_ok();
        let mut is_heard = false;
        while is_sound && let Some(frame) = self.decoder.pull() {
            is_heard |= frame.level() >= AUDIBLE;
            track.extend_from_slice(&frame[..]);
            self.length += frame.len() as u64;
        }
        is_heard
    }

    /// Appends silence up to an instant, if the track does not reach so far.
    pub fn rest(&mut self, until: Instant, track: &mut Vec<i16>) {
        self.fill(self.sample_at(until), track);
    }

    fn fill(&mut self, place: u64, track: &mut Vec<i16>) {
        let missing = usize::try_from(place.saturating_sub(self.length)).unwrap_or(0);
        track.extend(std::iter::repeat_n(0, missing));
        self.length += missing as u64;
    }

    fn place(&mut self, timestamp: u32, now: Instant) -> u64 {
        let by_clock = self.sample_at(now);
        if let Some(anchor) = self.anchor {
            let ticks = timestamp.wrapping_sub(anchor.timestamp).cast_signed();
            let by_stream = anchor.place.saturating_add_signed(i64::from(ticks) / TICKS_PER_SAMPLE);
            if by_stream.abs_diff(by_clock) <= STRAY_SAMPLES {
                // RTP time wraps after a day: what it is counted from moves along.
                self.anchor = Some(Anchor { timestamp, place: by_stream });
                return by_stream;
            }
        }
        let place = by_clock.max(self.length);
        self.anchor = Some(Anchor { timestamp, place });
        place
    }

    fn sample_at(&self, at: Instant) -> u64 {
        let micros = at.saturating_duration_since(self.begun).as_micros();
        u64::try_from(micros * u128::from(HOUSE_RATE) / MICROS).unwrap_or(u64::MAX)
    }
}

/// Frames below this level are silence to a listener: about 45 dB below full scale.
pub const AUDIBLE: u32 = 180;

/// RTP time runs at 48 kHz, and tracks at half of it.
const TICKS_PER_SAMPLE: i64 = 2;

/// So far may RTP time and the clock be apart within a stream: 500 ms.
const STRAY_SAMPLES: u64 = HOUSE_RATE as u64 / 2;

const MICROS: u128 = Duration::from_secs(1).as_micros();

#[cfg(test)]
mod tests {
    use super::super::frame::Frame24k;
    use super::super::microphone::Microphone;
    use super::super::testing::{ms, speech, start};
    use super::*;
    use crate::ids::ParticipantId;

    #[test]
    fn sound_lies_where_it_was_heard_and_silence_between() {
        let mut scene = Scene::new();
        assert!(scene.hears(1_000, 0), "speech can be heard");
        scene.hears(1_020, 960);
        scene.hears(3_000, 2_000 * 48);
        scene.track.rest(start() + ms(4_000), &mut scene.sound);
        assert_eq!(scene.stretches(), [(1_000, 1_040), (3_000, 3_020)]);
        assert_eq!(scene.sound.len(), 4 * 24_000);
    }

    #[test]
    fn packets_that_come_unevenly_lie_evenly() {
        let mut scene = Scene::new();
        scene.hears(1_000, 0);
        scene.hears(1_033, 960);
        scene.hears(1_041, 1_920);
        assert_eq!(scene.stretches(), [(1_000, 1_060)]);
    }

    #[test]
    fn another_stream_lies_where_the_clock_has_it() {
        let mut scene = Scene::new();
        scene.hears(1_000, 0);
        scene.hears(2_000, 3_000_000_000);
        scene.hears(2_020, 3_000_000_960);
        assert_eq!(scene.stretches(), [(1_000, 1_020), (2_000, 2_040)]);
    }

    #[test]
    fn the_stream_goes_on_where_its_time_wraps() {
        let mut scene = Scene::new();
        scene.hears(1_000, u32::MAX - 959);
        scene.hears(1_100, 4 * 960);
        assert_eq!(scene.stretches(), [(1_000, 1_020), (1_100, 1_120)]);
    }

    #[test]
    fn what_is_no_opus_is_silence() {
        let mut scene = Scene::new();
        let mut packet = scene.microphone.packet(&scene.speech[0], start());
        packet.payload = bytes::Bytes::from_static(&[0xff; 3]);
        assert!(!scene.track.push(&packet, start() + ms(500), &mut scene.sound));
        assert_eq!(scene.stretches(), []);
        assert_eq!(scene.sound.len(), 12_000);
    }

    struct Scene {
        track: Track,
        microphone: Microphone,
        /// Frames that can be heard, one after another.
        speech: Vec<Frame24k>,
        sound: Vec<i16>,
        said: usize,
    }

    impl Scene {
        fn new() -> Self {
            let microphone = Microphone::new(ParticipantId::new("ann")).unwrap();
            let speech = speech().into_iter().filter(|frame| frame.level() > 1_000).collect();
            let track = Track::new(start()).unwrap();
            Self { track, microphone, speech, sound: Vec::new(), said: 0 }
        }

        fn hears(&mut self, at_ms: u64, timestamp: u32) -> bool {
            let frame = self.speech[self.said];
            self.said += 1;
            let packet = OpusPacket { timestamp, ..self.microphone.packet(&frame, start()) };
            self.track.push(&packet, start() + ms(at_ms), &mut self.sound)
        }

        /// From when to when there is something other than silence, in whole frames of 20 ms.
        fn stretches(&self) -> Vec<(usize, usize)> {
            let mut stretches: Vec<(usize, usize)> = Vec::new();
            for (n, frame) in self.sound.chunks(480).enumerate() {
                if frame.iter().all(|sample| *sample == 0) {
                    continue;
                }
                match stretches.last_mut() {
                    Some((_, end)) if *end == n * 20 => *end += 20,
                    _ => stretches.push((n * 20, n * 20 + 20)),
                }
            }
            stretches
        }
    }
}
