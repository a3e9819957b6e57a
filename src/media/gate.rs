//! What of a participant is let in while we speak ourselves.

use std::time::{Duration, Instant};

use super::echo::{Heard, OwnVoice};
use super::frame::Frame24k;

/// How two may speak at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Duplex {
    /// Everything that comes is heard, our own echo too.
    Full,
    /// What comes back of our own voice is taken for silence.
    #[default]
    Guarded,
    /// Nobody is heard while we are.
    Half,
}

/// Lets the frames of one participant in, or not.
#[derive(Debug)]
pub(super) enum Gate {
    Open,
    Guarded {
        heard: Box<Heard>,
        /// The level of the loudest echo of late, which fades.
        echo: u32,
    },
    Half,
}

/// What a gate has seen in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// It is the participant's own sound.
    Open,
    /// It is our own voice.
    Echo,
    /// It comes while nobody else is heard.
    Closed,
}

impl Gate {
    pub(super) fn new(duplex: Duplex) -> Self {
        match duplex {
            Duplex::Full => Self::Open,
            Duplex::Guarded => Self::Guarded { heard: Box::new(Heard::new()), echo: 0 },
            Duplex::Half => Self::Half,
        }
    }

    pub(super) const fn duplex(&self) -> Duplex {
        match self {
            Self::Open => Duplex::Full,
            Self::Guarded { .. } => Duplex::Guarded,
            Self::Half => Duplex::Half,
        }
    }

    /// Decides on the frame that has come in at `now`, by what we say ourselves.
    pub(super) fn pass(
        &mut self,
        frame: &Frame24k,
        seen: Seen,
        own: &OwnVoice,
        now: Instant,
    ) -> Passage {
        match self {
            Self::Half if own.has_sounded(HALF_DUPLEX_TAIL, now) => Passage::Closed,
            Self::Open | Self::Half => Passage::Open,
            Self::Guarded { heard, echo } => {
                heard.push(frame);
                *echo -= *echo / ECHO_DECAY;
                let level = frame.level();
                if is_tail(level, seen, *echo) {
                    return Passage::Echo;
                }
                if !seen.voiced || !heard.is_echo(own, seen.speaking, now) {
                    return Passage::Open;
                }
                *echo = level.max(*echo);
                Passage::Echo
            }
        }
    }
}

/// Whether a frame is what an echo leaves behind: its sounds without voice, the room, and noise
/// that the detector holds on to. It is quieter than the echo was, if voiced then by 6 dB.
const fn is_tail(level: u32, seen: Seen, echo: u32) -> bool {
    let times = if seen.voiced { 2 } else { 1 };
    !seen.speaking && level * times < echo
}

/// What is known of a frame before it comes to the gate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Whether it holds voice, whosever.
    pub(super) voiced: bool,
    /// Whether the participant is speaking.
    pub(super) speaking: bool,
}

/// So long after our last packet left, others are heard again: it takes its time to be played, and
/// what comes back of it takes as long again.
pub const HALF_DUPLEX_TAIL: Duration = Duration::from_millis(200);

/// The level of an echo falls by so much a frame: to a half in 220 ms.
const ECHO_DECAY: u32 = 16;

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
mod tests {
    use super::*;
    use crate::ids::ParticipantId;
    use crate::media::opus::Encoder;
    use crate::media::packet::{OpusPacket, RTP_TICKS_PER_FRAME};
    use crate::media::speech::{EdgeKind, SpeechConfig};
    use crate::media::testing::{level, ms, noise, recording, samples_of, start, tone};
    use crate::media::uplink::{Uplink, UplinkOutput};

    #[test]
    fn our_own_voice_is_no_speech_however_late_and_quiet_it_comes_back() {
        for (delay_ms, gain) in [(20, 0.25), (90, 1.0), (260, 0.1), (500, 0.5), (500, 0.032)] {
            let echo = Path { delay_ms, gain, ..Path::default() }.carry(&agent());
            let heard = hear(Duplex::Guarded, &agent(), &echo);
            assert_eq!(heard.edges, [], "after {delay_ms} ms at {gain}");
            let all = hear(Duplex::Full, &agent(), &echo).loudness();
            // The quietest is no voice to the detector either.
            let part = if gain > 0.05 { 10 } else { 3 };
            let passed = heard.loudness();
            assert!(passed * part < all, "{passed} of {all} after {delay_ms} ms at {gain}");
        }
    }

    #[test]
    fn our_own_voice_is_known_through_walls_and_noise() {
        let low = Path { low_pass: 0.45, ..Path::default() };
        let noisy = Path { noise: 0.32, ..Path::default() };
        let room = Path { tail: 0.5, ..Path::default() };
        let all = Path { low_pass: 0.7, noise: 0.15, tail: 0.35, ..Path::default() };
        for path in [low, noisy, room, all] {
            // The detector learns the noise first.
            let ours = later(9000, &agent());
            let mut heard = hear(Duplex::Guarded, &ours, &path.carry(&ours));
            let noise = heard.edges.extract_if(.., |(_, at)| *at <= 9000).last();
            assert!(noise.is_none_or(|(kind, _)| kind == EdgeKind::Stopped), "{path:?}");
            assert_eq!(heard.edges, [], "{path:?}");
        }
    }

    #[test]
    fn without_a_guard_our_own_voice_is_speech() {
        let echo = Path::default().carry(&agent());
        let heard = hear(Duplex::Full, &agent(), &echo);
        assert!(heard.edges.len() > 2, "{:?}", heard.edges);
    }

    #[test]
    fn who_speaks_over_us_without_an_echo_is_heard_as_if_we_were_silent() {
        for name in HUMANS {
            let human = later(1000, &recording(name));
            let free = hear(Duplex::Full, &agent(), &human).started();
            let guarded = hear(Duplex::Guarded, &agent(), &human).started();
            assert!(guarded.is_some_and(|at| at <= free.unwrap() + 20), "{guarded:?}, {free:?}");
        }
    }

    #[test]
    fn who_speaks_as_loudly_as_our_echo_is_heard_soon() {
        let echo = Path { gain: 0.3, ..Path::default() }.carry(&agent());
        for name in HUMANS {
            for times_as_loud in [1.0, 2.0] {
                let human = recording(name);
                let gain = times_as_loud * level(&echo) / level(&human);
                let human = later(1000, &scaled(&human, gain));
                let free = hear(Duplex::Full, &[], &human).started().unwrap();
                let both = sum(&echo, &human);
                let guarded = hear(Duplex::Guarded, &agent(), &both).started();
                let late_ms = guarded.map(|at| at.saturating_sub(free));
                assert!(
                    late_ms.is_some_and(|late| late <= 240) && guarded >= Some(1000),
                    "{name} {times_as_loud}: {guarded:?}, alone at {free}"
                );
            }
        }
    }

    #[test]
    fn nobody_is_heard_while_we_speak_half_duplex() {
        let ours = later(1000, &tone(440.0, 9000.0, 48_000));
        let human = recording(HUMANS[0]).repeat(4);
        let heard = hear(Duplex::Half, &ours, &human);
        let kinds: Vec<_> = heard.edges.iter().map(|(kind, _)| *kind).collect();
        let expected = [
            (EdgeKind::Started, 300..440),
            (EdgeKind::Sustained, 0..1000),
            (EdgeKind::Stopped, 1020..1040),
            (EdgeKind::Started, 3200..3500),
        ];
        assert_eq!(kinds[..4], expected.clone().map(|(kind, _)| kind));
        for ((_, decided_ms), (_, range)) in heard.edges.iter().zip(expected) {
            assert!(range.contains(decided_ms), "{:?}", heard.edges);
        }
        let closed = 1000 / 20..3160 / 20;
        assert!(heard.levels[closed].iter().all(|level| *level == 0));
    }

    #[test]
    fn a_gate_that_nothing_is_said_beside_is_open() {
        let human = recording(HUMANS[0]);
        for duplex in [Duplex::Guarded, Duplex::Half] {
            let heard = hear(duplex, &[], &human);
            assert_eq!(heard.edges, hear(Duplex::Full, &[], &human).edges);
        }
    }

    const HUMANS: [&str; 3] = ["what-time-is-it", "my-name-is", "goodbye"];

    fn agent() -> Vec<i16> {
        ["tell-me-the-weather-in-paris", "what-is-my-name"].map(recording).concat()
    }

    /// What is between our packets and a participant's.
    #[derive(Clone, Copy, Debug)]
    struct Path {
        delay_ms: usize,
        gain: f32,
        /// How much of each sample stays in the next: 0 lets everything pass.
        low_pass: f32,
        /// The level of noise, beside that of the echo.
        noise: f32,
        /// How loud a room's tail of 200 ms is beside the direct sound.
        tail: f32,
    }

    impl Default for Path {
        fn default() -> Self {
            Self { delay_ms: 120, gain: 0.5, low_pass: 0.0, noise: 0.0, tail: 0.0 }
        }
    }

    impl Path {
        fn carry(&self, sound: &[i16]) -> Vec<i16> {
            let mut carried: Vec<f32> = sound.iter().map(|sample| f32::from(*sample)).collect();
            if self.tail > 0.0 {
                carried = self.reverberated(&carried);
            }
            let mut low = 0.0;
            for sample in &mut carried {
                low = low * self.low_pass + *sample * (1.0 - self.low_pass);
                *sample = low * self.gain;
            }
            let loud = level(&samples_of(&carried)) * self.noise;
            for (sample, noise) in carried.iter_mut().zip(noise(7)) {
                // Even noise between -1 and 1 has a level of 0.58.
                *sample += noise * loud / 0.58;
            }
            later(self.delay_ms, &samples_of(&carried))
        }

        /// Sixty reflections, ever weaker.
        fn reverberated(&self, sound: &[f32]) -> Vec<f32> {
            let times = noise(3).map(|place| 48 + (place.abs() * 4800.0) as usize);
            let taps: Vec<(usize, f32)> = times
                .zip(noise(4))
                .take(60)
                .map(|(at, sign)| (at, sign.signum() * (-(at as f32) / 1600.0).exp()))
                .collect();
            let energy: f32 = taps.iter().map(|(_, gain)| gain * gain).sum();
            let scale = self.tail / energy.sqrt();
            let mut wet = sound.to_vec();
            for (at, gain) in taps {
                for (place, sample) in wet[at..].iter_mut().zip(sound) {
                    *place += sample * gain * scale;
                }
            }
            wet
        }
    }

    fn later(delay_ms: usize, sound: &[i16]) -> Vec<i16> {
        [vec![0; delay_ms * 24], sound.to_vec()].concat()
    }

    fn scaled(sound: &[i16], gain: f32) -> Vec<i16> {
        let scaled: Vec<f32> = sound.iter().map(|sample| f32::from(*sample) * gain).collect();
        samples_of(&scaled)
    }

    fn sum(one: &[i16], other: &[i16]) -> Vec<i16> {
        let length = one.len().max(other.len());
        let at = |sound: &[i16], n: usize| sound.get(n).copied().unwrap_or(0);
        (0..length).map(|n| at(one, n).saturating_add(at(other, n))).collect()
    }

    /// What came out of an uplink, all at 20 ms a frame.
    struct Heard {
        /// With the milliseconds at which they were certain.
        edges: Vec<(EdgeKind, usize)>,
        levels: Vec<u32>,
    }

    impl Heard {
        fn loudness(&self) -> u32 {
            self.levels.iter().sum()
        }

        fn started(&self) -> Option<usize> {
            let mut edges = self.edges.iter();
            edges.find(|(kind, _)| *kind == EdgeKind::Started).map(|(_, at)| *at)
        }
    }

    /// Says `ours` while a participant's packets bring `theirs`.
    fn hear(duplex: Duplex, ours: &[i16], theirs: &[i16]) -> Heard {
        let mut uplink = Uplink::new(SpeechConfig::default(), start()).unwrap();
        uplink.set_manner(ms(160), duplex);
        let (mut own, mut encoder) = (OwnVoice::new(), Encoder::new().unwrap());
        let mut heard = Heard { edges: Vec::new(), levels: Vec::new() };
        let (ours, theirs) = (ours.as_chunks::<480>().0, theirs.as_chunks::<480>().0);
        for (n, theirs) in theirs.iter().enumerate() {
            let now = start() + ms(20 * n as u64);
            let (number, timestamp) = (n as u16, n as u32 * RTP_TICKS_PER_FRAME);
            if let Some(frame) = ours.get(n).filter(|frame| frame.iter().any(|s| *s != 0)) {
                own.push(&Frame24k::new(*frame), timestamp, now);
            }
            let packet = OpusPacket {
                participant: ParticipantId::new("p_1"),
                sequence: number,
                timestamp,
                marker: false,
                payload: encoder.encode(&Frame24k::new(*theirs)),
                at: now + ms(20),
            };
            uplink.push(packet, now + ms(20));
            while let Some(output) = uplink.poll_beside(Some(&own)) {
                match output {
                    UplinkOutput::Frame(frame) => heard.levels.push(frame.level()),
                    UplinkOutput::Edge(edge) => heard.edges.push((edge.kind, 20 * (n + 1))),
                }
            }
        }
        heard
    }
}
