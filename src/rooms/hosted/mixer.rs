//! Several sources into one stream for each human: everyone hears all but themselves.
//!
//! Every source is decoded once, every distinct mix encoded once: those who say nothing share one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::ids::ParticipantId;
use crate::media::{
    Before, CodecError, Decoder, Encoder, FRAME_MS, Frame24k, Mix, OpusPacket, Order, Ordered,
    fec_samples,
};

/// Frames of one source that may wait for the mixer's clock: 240 ms, twice the longest packet.
///
/// When full: the oldest is left out.
const FRAMES_CAPACITY: usize = 12;

/// Mixes one room. Its clock ticks every 20 ms; time is an argument.
#[derive(Debug)]
pub(super) struct Mixer {
    tick: u64,
    mix: Mix,
    voices: Vec<Voice>,
    own: Vec<(ParticipantId, Encoder)>,
    shared: Encoder,
    /// What those hear who say nothing, once it was asked for in this tick.
    for_silent: Option<Bytes>,
}

impl Mixer {
    /// A mixer without sources.
    pub(super) fn new() -> Result<Self, CodecError> {
        let shared = Encoder::new()?;
        let (voices, own) = (Vec::new(), Vec::new());
        Ok(Self { tick: 0, mix: Mix::new(), voices, own, shared, for_silent: None })
    }

    /// Takes a packet of any source.
    pub(super) fn push(&mut self, packet: OpusPacket, now: Instant) -> Result<(), CodecError> {
        let known = self.voices.iter().position(|voice| voice.id == packet.participant);
        let place = if let Some(place) = known {
            place
        } else {
            self.voices.push(Voice::new(packet.participant.clone())?);
            self.voices.len() - 1
        };
        self.voices[place].push(packet, now);
        Ok(())
    }

    /// Goes on by 20 ms, and gives the number of the tick.
    pub(super) fn tick(&mut self, now: Instant) -> u64 {
        self.tick += 1;
        self.for_silent = None;
        self.mix = Mix::new();
        for voice in &mut self.voices {
            voice.tick(now);
            self.mix.add(&voice.frame);
        }
        self.tick
    }

    /// What `listener` hears in this tick; `None` if nobody else says anything.
    pub(super) fn payload_for(
        &mut self,
        listener: &ParticipantId,
    ) -> Result<Option<Bytes>, CodecError> {
        if !self.voices.iter().any(|voice| voice.is_heard() && voice.id != *listener) {
            return Ok(None);
        }
        let own = self.voices.iter().find(|voice| voice.is_heard() && voice.id == *listener);
        let Some(own) = own else {
            let (shared, mix) = (&mut self.shared, &self.mix);
            let payload = self.for_silent.get_or_insert_with(|| shared.encode(&mix.all()));
            return Ok(Some(payload.clone()));
        };
        let frame = self.mix.without(&own.frame);
        let known = self.own.iter().position(|(id, _)| id == listener);
        let place = if let Some(place) = known {
            place
        } else {
            self.own.push((listener.clone(), Encoder::new()?));
            self.own.len() - 1
        };
        Ok(Some(self.own[place].1.encode(&frame)))
    }

    /// Prepares for so many percent of a listener's packets being lost on the way (from its
    /// receiver reports).
    pub(super) fn set_loss_percent(&mut self, listener: &ParticipantId, percent: u8) {
        let own = self.own.iter_mut().find(|(id, _)| id == listener);
        if let Some((_, encoder)) = own {
            encoder.set_loss_percent(percent);
        }
        // One who loses nothing does not undo at once what another needs: the encoder remembers.
        self.shared.set_loss_percent(percent);
    }

    /// Forgets someone who has left.
    pub(super) fn forget(&mut self, id: &ParticipantId) {
        self.voices.retain(|voice| voice.id != *id);
        self.own.retain(|(listener, _)| listener != id);
    }
}

/// One source, and what it says in this tick.
#[derive(Debug)]
struct Voice {
    id: ParticipantId,
    order: Order,
    decoder: Decoder,
    frames: VecDeque<Frame24k>,
    stage: Stage,
    /// How many frames are gathered before they are played: it grows with the jitter that is seen.
    depth: usize,
    /// For how many ticks more frames have waited than needed.
    standing: u32,
    /// How many more ticks the source counts as saying something.
    heard: u32,
    frame: Frame24k,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nothing is played until enough is there; `dry` is when it ran out.
    Gathering {
        dry: Option<Instant>,
    },
    Playing,
}

impl Voice {
    fn new(id: ParticipantId) -> Result<Self, CodecError> {
        Ok(Self {
            id,
            order: Order::new(),
            decoder: Decoder::new()?,
            frames: VecDeque::with_capacity(FRAMES_CAPACITY),
            stage: Stage::Gathering { dry: None },
            depth: DEPTH_MIN,
            standing: 0,
            heard: 0,
            frame: Frame24k::SILENCE,
        })
    }

    fn is_heard(&self) -> bool {
        self.heard > 0
    }

    fn push(&mut self, packet: OpusPacket, now: Instant) {
        if let Stage::Gathering { dry: Some(dry) } = self.stage {
            // It ran dry while it was speaking: it needs more in hand.
            if now.duration_since(dry) < PAUSE {
                self.depth = (self.depth + 1).min(DEPTH_MAX);
            }
            self.stage = Stage::Gathering { dry: None };
        }
        self.order.push(packet, now);
        self.drain(now);
    }

    fn tick(&mut self, now: Instant) {
        self.drain(now);
        if matches!(self.stage, Stage::Gathering { .. }) && self.frames.len() >= self.depth {
            self.stage = Stage::Playing;
        }
        let next = match self.stage {
            Stage::Playing => self.frames.pop_front(),
            Stage::Gathering { .. } => None,
        };
        if next.is_none() && matches!(self.stage, Stage::Playing) {
            self.stage = Stage::Gathering { dry: Some(now) };
        }
        self.frame = next.unwrap_or(Frame24k::SILENCE);
        let is_sound = self.frame != Frame24k::SILENCE;
        self.heard = if is_sound { HELD } else { self.heard.saturating_sub(1) };
        self.drop_what_stands();
    }

    /// Where the source's clock is faster than ours, or a burst has gone by, frames pile up.
    fn drop_what_stands(&mut self) {
        self.standing = if self.frames.len() > self.depth { self.standing + 1 } else { 0 };
        if self.standing >= STANDING {
            self.standing = 0;
            self.frames.pop_front();
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(ordered) = self.order.poll(now) {
            self.decode(&ordered);
            while let Some(frame) = self.decoder.pull() {
                if self.frames.len() == FRAMES_CAPACITY {
                    self.frames.pop_front();
                }
                self.frames.push_back(frame);
            }
        }
    }

    fn decode(&mut self, ordered: &Ordered) {
        let payload = &ordered.packet.payload;
        if payload.is_empty() {
            return;
        }
        match ordered.before {
            Before::Nothing => {}
            Before::Restart => self.decoder.reset(),
            Before::Lost(packets) => {
                // Packets are taken to be of 20 ms; a guess of more than three does nobody good.
                let lost = usize::from(packets.min(LOST_MAX)) * Frame24k::SAMPLES;
                self.decoder.conceal(lost.saturating_sub(fec_samples(payload)));
                // The payload itself is decoded next, and fails there if it is not Opus.
                let _ = self.decoder.recover(payload);
            }
        }
        if self.decoder.decode(payload).is_err() {
            self.decoder.conceal(Frame24k::SAMPLES);
        }
    }
}

/// Frames in hand before a source is played: 40 ms to begin with, 120 ms at most.
const DEPTH_MIN: usize = 2;
const DEPTH_MAX: usize = 6;

/// A source that goes on within this time had not paused: its packets were late.
const PAUSE: Duration = Duration::from_millis(5 * FRAME_MS);

/// So long, in ticks, more frames than needed may wait: a second.
const STANDING: u32 = 50;

/// So long, in ticks, a source counts as saying something after its last sound: a second. Shorter,
/// and listeners would change streams between words.
const HELD: u32 = 50;

/// How many lost packets in a row are made up.
const LOST_MAX: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_hears_all_but_themselves() {
        let mut scene = Scene::new();
        scene.run(50, &[("ann", 400.0), ("ben", 1000.0)]);
        assert!(scene.hears("ann", 1000.0) && !scene.hears("ann", 400.0));
        assert!(scene.hears("ben", 400.0) && !scene.hears("ben", 1000.0));
        assert!(scene.hears("cleo", 400.0) && scene.hears("cleo", 1000.0));
    }

    #[test]
    fn those_who_say_nothing_share_one_encoding() {
        let mut scene = Scene::new();
        scene.run(10, &[("ann", 400.0)]);
        let (ben, cleo) = (scene.payload("ben"), scene.payload("cleo"));
        assert!(ben.is_some());
        assert_eq!(ben.map(|payload| payload.as_ptr()), cleo.map(|payload| payload.as_ptr()));
        assert_eq!(scene.payload("ann"), None, "nobody else says anything");
    }

    #[test]
    fn nothing_is_sent_once_all_have_fallen_silent() {
        let mut scene = Scene::new();
        scene.run(10, &[("ann", 400.0)]);
        scene.run(100, &[]);
        assert_eq!(scene.payload("ben"), None);
    }

    #[test]
    fn a_lost_packet_leaves_no_hole() {
        let mut scene = Scene::new();
        for _ in 0..10 {
            scene.run(4, &[("ann", 400.0)]);
            scene.lose("ann", 400.0);
        }
        scene.run(2, &[("ann", 400.0)]);
        let ann = &scene.mixer.voices[0];
        assert!(matches!(ann.stage, Stage::Playing));
        assert!(!ann.frames.is_empty() && ann.depth <= DEPTH_MIN + 1, "what was lost is made up");
    }

    #[test]
    fn late_packets_deepen_what_is_held_but_a_pause_does_not() {
        let mut scene = Scene::new();
        scene.run(10, &[("ann", 400.0)]);
        scene.run(50, &[]);
        scene.run(10, &[("ann", 400.0)]);
        assert_eq!(scene.mixer.voices[0].depth, DEPTH_MIN, "it was a pause");
        scene.run(4, &[]);
        scene.run(1, &[("ann", 400.0)]);
        assert_eq!(scene.mixer.voices[0].depth, DEPTH_MIN + 1);
    }

    #[test]
    fn what_piles_up_is_left_out_again() {
        let mut scene = Scene::new();
        scene.run(5, &[("ann", 400.0)]);
        for _ in 0..8 {
            scene.say("ann", 400.0);
        }
        scene.run(STANDING * 12, &[("ann", 400.0)]);
        assert!(scene.mixer.voices[0].frames.len() <= DEPTH_MIN + 1);
    }

    /// A listener gets ann's packets as they are, then the mix with her in it, and back.
    #[test]
    fn a_change_of_streams_does_not_click() {
        let mut scene = Scene::new();
        let mut decoder = Decoder::new().unwrap();
        let (mut last, mut steps) = (0, [0, 0]);
        for n in 0..500_usize {
            let untouched = scene.encode("ann", 400.0);
            scene.push("ann", untouched.clone());
            scene.run(1, &[]);
            let mixed = scene.payload("ben");
            let is_mixed = n / 25 % 2 == 1;
            let payload = if is_mixed { mixed.unwrap() } else { untouched };
            decoder.decode(&payload).unwrap();
            for sample in *decoder.pull().unwrap() {
                let step = &mut steps[usize::from(n % 25 < 2)];
                let size = (i32::from(sample) - last).abs();
                *step = size.max(if n < 25 { 0 } else { *step });
                last = i32::from(sample);
            }
        }
        let [inside, joins] = steps;
        assert!(joins < 3 * inside, "{joins} at joins, {inside} inside");
    }

    #[test]
    fn a_listener_who_loses_packets_is_sent_what_loss_spares() {
        let mut scene = Scene::new();
        scene.run(300, &[("ann", 400.0)]);
        let is_guarded = |payload: Option<Bytes>| payload.unwrap()[0] & 0x80 == 0;
        assert!(scene.payload("ben").is_some());
        for _ in 0..300 {
            scene.run(1, &[("ann", 400.0)]);
            scene.payload("ben");
        }
        scene.run(1, &[("ann", 400.0)]);
        assert!(!is_guarded(scene.payload("ben")), "nothing was reported");
        scene.mixer.set_loss_percent(&ParticipantId::new("ben"), 5);
        scene.run(1, &[("ann", 400.0)]);
        scene.payload("ben");
        scene.run(1, &[("ann", 400.0)]);
        assert!(is_guarded(scene.payload("ben")));
    }

    #[test]
    fn nonsense_and_nothing_hurt_nobody() {
        let mut scene = Scene::new();
        for payload in [&b""[..], &[0xFF; 3], &[0x03]] {
            scene.push("eve", Bytes::copy_from_slice(payload));
        }
        scene.run(20, &[("ann", 400.0)]);
        assert!(scene.hears("eve", 400.0));
    }

    #[test]
    fn who_has_left_is_heard_no_more() {
        let mut scene = Scene::new();
        scene.run(20, &[("ann", 400.0), ("ben", 1000.0)]);
        scene.mixer.forget(&ParticipantId::new("ann"));
        scene.run(1, &[("ben", 1000.0)]);
        assert_eq!(scene.payload("ben"), None);
        assert!(scene.payload("ann").is_some());
    }

    /// Speakers of pure tones, and listeners who decode what they get.
    struct Scene {
        mixer: Mixer,
        now: Instant,
        speakers: Vec<(String, Encoder, u16)>,
    }

    impl Scene {
        fn new() -> Self {
            let now = crate::sys::clock::now();
            Self { mixer: Mixer::new().unwrap(), now, speakers: Vec::new() }
        }

        fn run(&mut self, ticks: u32, tones: &[(&str, f32)]) {
            for _ in 0..ticks {
                for (name, hertz) in tones {
                    self.say(name, *hertz);
                }
                self.now += Duration::from_millis(FRAME_MS);
                self.mixer.tick(self.now);
            }
        }

        fn say(&mut self, name: &str, hertz: f32) {
            let payload = self.encode(name, hertz);
            self.push(name, payload);
        }

        /// Says something that does not arrive.
        fn lose(&mut self, name: &str, hertz: f32) {
            self.encode(name, hertz);
            self.speaker(name).2 += 1;
            self.now += Duration::from_millis(FRAME_MS);
            self.mixer.tick(self.now);
        }

        fn push(&mut self, name: &str, payload: Bytes) {
            let sequence = self.speaker(name).2;
            self.speaker(name).2 += 1;
            let packet = OpusPacket {
                participant: ParticipantId::new(name),
                sequence,
                timestamp: u32::from(sequence) * 960,
                marker: false,
                payload,
                at: self.now,
            };
            self.mixer.push(packet, self.now).unwrap();
        }

        fn encode(&mut self, name: &str, hertz: f32) -> Bytes {
            let (_, encoder, sequence) = self.speaker(name);
            let start = f32::from(*sequence) * 480.0;
            encoder.encode(&Frame24k::new(std::array::from_fn(|sample| {
                let time = (start + f32::from(u16::try_from(sample).unwrap())) / 24_000.0;
                #[expect(clippy::cast_possible_truncation, reason = "a tone of test strength")]
                let value = ((time * hertz * std::f32::consts::TAU).sin() * 6000.0) as i16;
                value
            })))
        }

        fn speaker(&mut self, name: &str) -> &mut (String, Encoder, u16) {
            if let Some(place) = self.speakers.iter().position(|speaker| speaker.0 == name) {
                return &mut self.speakers[place];
            }
            self.speakers.push((name.to_owned(), Encoder::new().unwrap(), 0));
            self.speakers.last_mut().unwrap()
        }

        fn payload(&mut self, listener: &str) -> Option<Bytes> {
            self.mixer.payload_for(&ParticipantId::new(listener)).unwrap()
        }

        /// Whether a tone is in what a listener gets, over half a second of it.
        fn hears(&mut self, listener: &str, hertz: f32) -> bool {
            let tones: Vec<(String, f32)> = [("ann", 400.0), ("ben", 1000.0)]
                .map(|(name, hertz)| (name.to_owned(), hertz))
                .into();
            let known: Vec<String> =
                self.speakers.iter().map(|speaker| speaker.0.clone()).collect();
            let mut decoder = Decoder::new().unwrap();
            let mut samples = Vec::new();
            for _ in 0..25 {
                let now: Vec<(&str, f32)> = tones
                    .iter()
                    .filter(|(name, _)| known.contains(name))
                    .map(|(name, hertz)| (name.as_str(), *hertz))
                    .collect();
                self.run(1, &now);
                decoder.decode(&self.payload(listener).unwrap()).unwrap();
                samples.extend(decoder.pull().unwrap().iter().copied());
            }
            strength(&samples[2400..], hertz) > 1000.0
        }
    }

    /// How strong a tone is in a sound (Goertzel's sum, written plainly).
    fn strength(samples: &[i16], hertz: f32) -> f32 {
        let (mut sine, mut cosine, mut count) = (0.0, 0.0, 0.0_f32);
        for sample in samples {
            let angle = count / 24_000.0 * hertz * std::f32::consts::TAU;
            sine += angle.sin() * f32::from(*sample);
            cosine += angle.cos() * f32::from(*sample);
            count += 1.0;
        }
        sine.hypot(cosine) * 2.0 / count
    }
}
