//! A human in the rehearsal: a microphone that picks up speech, coughs and echo, and an encoder.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Recorded;
use super::script::{Echo, Person};
use crate::ids::ParticipantId;
use crate::media::{
    CodecError, Decoder, Encoder, Frame24k, OpusPacket, RTP_TICKS_PER_FRAME, RecordedCaller, Track,
};

/// One human's side of the call.
#[derive(Debug)]
pub(super) struct Human {
    pub(super) id: ParticipantId,
    person: Person,
    encoder: Encoder,
    /// How silence sounds once the encoder has come to rest.
    silence: Option<Bytes>,
    silent_frames: u32,
    sequence: u16,
    frames: u32,
    /// Who speaks in place of the script's lines.
    recorded: Option<Guest>,
}

/// Someone who was recorded before, and what they hear of the agent.
#[derive(Debug)]
struct Guest {
    caller: RecordedCaller,
    track: Track,
    heard: Vec<i16>,
}

/// The loudspeaker beside a microphone.
#[derive(Debug)]
pub(super) struct Loudspeaker {
    echo: Echo,
    decoder: Decoder,
    /// What comes back, and when.
    air: VecDeque<(Duration, Frame24k)>,
}

impl Human {
    pub(super) fn new(
        person: Person,
        recorded: Option<Recorded>,
        start: Instant,
    ) -> Result<Self, CodecError> {
        let recorded = recorded.map(|recorded| Guest::new(recorded, start)).transpose()?;
        Ok(Self {
            id: ParticipantId::new(person.name.as_str()),
            person,
            encoder: Encoder::new()?,
            silence: None,
            silent_frames: 0,
            sequence: 0,
            frames: 0,
            recorded,
        })
    }

    pub(super) const fn person(&self) -> &Person {
        &self.person
    }

    /// Whether it is in the room.
    pub(super) fn is_there(&self, now: Duration) -> bool {
        self.person.joins <= now && self.person.leaves.as_ref().is_none_or(|(at, _)| now < *at)
    }

    /// Whether it was recorded before.
    pub(super) const fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Whether it was recorded before, and hangs up.
    pub(super) fn hangs_up(&self, at: Instant) -> bool {
        self.recorded.as_ref().is_some_and(|guest| guest.caller.is_over(at))
    }

    /// The agent speaks to it.
    pub(super) fn hear(&mut self, packet: &OpusPacket, at: Instant) {
        let Some(Guest { caller, track, heard }) = &mut self.recorded else { return };
        if track.push(packet, at, heard) {
            caller.hear(at);
        }
    }

    /// All that it has heard until then; nothing, if it was not recorded.
    pub(super) fn heard(self, until: Instant) -> Vec<i16> {
        let Some(Guest { mut track, mut heard, .. }) = self.recorded else { return Vec::new() };
        track.rest(until, &mut heard);
        heard
    }

    /// The packet of the 20 ms that end now, unless it is lost on its way; `echo` is what the
    /// microphone hears beside the human.
    pub(super) fn packet(
        &mut self,
        voice: &[i16],
        echo: Option<&Frame24k>,
        now: Duration,
        at: Instant,
    ) -> Option<OpusPacket> {
        let mut frame = self.frame(voice, now, at);
        for (sample, echo) in frame.iter_mut().zip(echo.into_iter().flat_map(|frame| frame.iter()))
        {
            *sample = sample.saturating_add(*echo);
        }
        let is_silent = frame == Frame24k::SILENCE;
        self.silent_frames = if is_silent { self.silent_frames + 1 } else { 0 };
        let payload = match &self.silence {
            Some(silence) if self.silent_frames > SETTLING_FRAMES => silence.clone(),
            _ => self.encoder.encode(&frame),
        };
        if self.silent_frames == SETTLING_FRAMES {
            self.silence = Some(payload.clone());
        }
        let packet = OpusPacket {
            participant: self.id.clone(),
            sequence: self.sequence,
            timestamp: self.frames.wrapping_mul(RTP_TICKS_PER_FRAME),
            marker: self.frames == 0,
            payload,
            at,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.frames = self.frames.wrapping_add(1);
        let is_lost = self.person.gaps.iter().any(|(from, to)| (*from..*to).contains(&now));
        (!is_lost).then_some(packet)
    }

    fn frame(&mut self, voice: &[i16], now: Duration, at: Instant) -> Frame24k {
        let began = now.saturating_sub(FRAME);
        if let Some(recorded) = &mut self.recorded {
            return recorded.caller.frame(at);
        }
        let within = |from: Duration, to: Duration| (from..to).contains(&began);
        if let Some((at, _)) =
            self.person.noises.iter().find(|(at, lasts)| within(*at, *at + *lasts))
        {
            return noise(samples(began.saturating_sub(*at)));
        }
        match self.person.lines.iter().find(|spoken| within(spoken.from, spoken.to)) {
            Some(spoken) => cut(voice, samples(began.saturating_sub(spoken.from))),
            None => Frame24k::SILENCE,
        }
    }
}

impl Guest {
    fn new(recorded: Recorded, start: Instant) -> Result<Self, CodecError> {
        let Recorded { samples, manners } = recorded;
        let caller = RecordedCaller::new(samples, manners, start);
        Ok(Self { caller, track: Track::new(start)?, heard: Vec::new() })
    }
}

impl Loudspeaker {
    pub(super) fn new(echo: Echo) -> Result<Self, CodecError> {
        Ok(Self { echo, decoder: Decoder::new()?, air: VecDeque::new() })
    }

    /// Plays what the agent says, into the room.
    pub(super) fn play(&mut self, packet: &OpusPacket, now: Duration) {
        // What cannot be decoded is not heard.
        let _ = self.decoder.decode(&packet.payload);
        while let Some(mut frame) = self.decoder.pull() {
            for sample in frame.iter_mut() {
                #[expect(clippy::cast_possible_truncation, reason = "a sample, made softer")]
                let softer = (f32::from(*sample) * self.echo.gain) as i16;
                *sample = softer;
            }
            self.air.push_back((now + self.echo.delay, frame));
        }
    }

    /// What comes back of it now.
    pub(super) fn echo(&mut self, now: Duration) -> Option<Frame24k> {
        self.air.pop_front_if(|(at, _)| *at <= now).map(|(_, frame)| frame)
    }
}

/// A frame of a sound from this sample on, which begins anew at its end.
fn cut(sound: &[i16], from: usize) -> Frame24k {
    let mut frame = Frame24k::SILENCE;
    let rest = sound.iter().cycle().skip(from % sound.len().max(1));
    for (sample, sound) in frame.iter_mut().zip(rest) {
        *sample = *sound;
    }
    frame
}

/// A cough, or a key: noise of no pitch, the same every time.
fn noise(from: usize) -> Frame24k {
    let mut frame = Frame24k::SILENCE;
    for (n, sample) in (from..).zip(frame.iter_mut()) {
        let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        *sample = i16::try_from((mixed >> 48) % 12_000).unwrap_or_default() - 6_000;
    }
    frame
}

fn samples(lasts: Duration) -> usize {
    usize::try_from(lasts.as_millis() * 24).unwrap_or(usize::MAX)
}

/// How long a frame lasts.
pub(super) const FRAME: Duration = Duration::from_millis(20);

/// Frames until an encoder that hears nothing says the same every time.
const SETTLING_FRAMES: u32 = 50;
