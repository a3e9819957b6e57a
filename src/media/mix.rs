//! Several voices in one frame: for the ears of a room, and for the one ear of a model.

use std::collections::VecDeque;

use super::frame::Frame24k;
use crate::ids::ParticipantId;

/// A sum of frames that keeps the headroom until it is asked for: nothing clips on the way.
#[derive(Clone, Debug)]
pub struct Mix {
    sum: [i32; Frame24k::SAMPLES],
}

impl Mix {
    /// A mix of nobody.
    #[must_use]
    pub const fn new() -> Self {
        Self { sum: [0; Frame24k::SAMPLES] }
    }

    /// Adds a voice.
    pub fn add(&mut self, frame: &Frame24k) {
        for (sum, sample) in self.sum.iter_mut().zip(frame.iter()) {
            *sum += i32::from(*sample);
        }
    }

    /// What a mere listener hears: everybody.
    #[must_use]
    pub fn all(&self) -> Frame24k {
        self.without(&Frame24k::SILENCE)
    }

    /// What the speaker of `own`, a frame that was added, hears: everybody else (mix-minus).
    #[must_use]
    pub fn without(&self, own: &Frame24k) -> Frame24k {
        let mut mixed = Frame24k::SILENCE;
        for ((sample, sum), own) in mixed.iter_mut().zip(&self.sum).zip(own.iter()) {
            *sample = saturate(sum - i32::from(*own));
        }
        mixed
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self::new()
    }
}

/// Several participants' frames in one stream for a model, without a clock of its own.
///
/// The rule: one participant leads. Each frame of the leader goes out at once, mixed with at most
/// one waiting frame of each other; so a sole participant's frames pass straight through, and
/// the others wait for the leader's next frame, 20 ms at most. The lead goes to whoever becomes
/// clearly louder than the leader, or is heard for [`STALLED_FRAMES`] frames while the leader gives
/// none. A frame more may go out when the lead changes. Where frames of another pile up, because
/// its clock is faster or its packets come in bursts, one that waits too long for
/// [`STANDING_FRAMES`] frames in a row is left out.
#[derive(Debug, Default)]
pub struct Ear {
    voices: Vec<Voice>,
    leader: usize,
    left_out: u64,
}

#[derive(Debug)]
struct Voice {
    participant: ParticipantId,
    frames: VecDeque<Frame24k>,
    level: u32,
    standing: u32,
}

impl Ear {
    /// An ear that nobody speaks into.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a participant's next frame; who is new is added. Drain [`Ear::poll`] afterwards.
    pub fn push(&mut self, participant: &ParticipantId, frame: &Frame24k) {
        let index = self.index_of(participant);
        let leader_level = self.voices[self.leader].level;
        let voice = &mut self.voices[index];
        if voice.frames.len() == EAR_QUEUE_CAPACITY {
            voice.frames.pop_front();
            self.left_out += 1;
        }
        voice.frames.push_back(*frame);
        voice.level = frame.level().max(voice.level - voice.level / LEVEL_DECAY);
        let louder = voice.level > LEVEL_HEARD && voice.level > leader_level * LOUDER_TIMES;
        if louder || voice.frames.len() >= STALLED_FRAMES {
            self.leader = index;
        }
    }

    /// Gives the next frame for the model, if the leader has one.
    pub fn poll(&mut self) -> Option<Frame24k> {
        let leader = self.leader;
        if self.voices.get(leader)?.frames.is_empty() {
            return None;
        }
        let mut mix = Mix::new();
        for (index, voice) in self.voices.iter_mut().enumerate() {
            if let Some(frame) = voice.frames.pop_front() {
                mix.add(&frame);
            }
            if index != leader {
                self.left_out += voice.drop_what_stands();
            }
        }
        Some(mix.all())
    }

    /// Forgets a participant, with what waits of it.
    pub fn remove(&mut self, participant: &ParticipantId) {
        let Some(index) = self.voices.iter().position(|voice| voice.participant == *participant)
        else {
            return;
        };
        self.voices.remove(index);
        if index == self.leader {
            let loudest = self.voices.iter().enumerate().max_by_key(|(_, voice)| voice.level);
            self.leader = loudest.map_or(0, |(index, _)| index);
        } else if index < self.leader {
            self.leader -= 1;
        }
    }

    /// How many frames were left out because they piled up.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    fn index_of(&mut self, participant: &ParticipantId) -> usize {
        let known = self.voices.iter().position(|voice| voice.participant == *participant);
        known.unwrap_or_else(|| {
            self.voices.push(Voice::new(participant.clone()));
            self.voices.len() - 1
        })
    }
}

impl Voice {
    fn new(participant: ParticipantId) -> Self {
        let frames = VecDeque::with_capacity(EAR_QUEUE_CAPACITY);
        Self { participant, frames, level: 0, standing: 0 }
    }

    fn drop_what_stands(&mut self) -> u64 {
        self.standing = if self.frames.is_empty() { 0 } else { self.standing + 1 };
        if self.standing < STANDING_FRAMES {
            return 0;
        }
        self.standing = 0;
        self.frames.pop_front();
        1
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the value is clamped to what fits")]
fn saturate(sum: i32) -> i16 {
    sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// Frames of one participant that may wait for the leader.
///
/// When full: the oldest is left out and counted. The lead changes before that, so only an ear
/// that nobody polls fills up.
pub const EAR_QUEUE_CAPACITY: usize = STALLED_FRAMES + 1;

/// So many waiting frames prove that the leader has stopped: more than the longest packet holds.
pub const STALLED_FRAMES: usize = 7;

/// So long, in frames, a frame too many may wait before it is left out: half a second.
pub const STANDING_FRAMES: u32 = 25;

/// The lead changes to a voice so many times as loud as the leader's.
const LOUDER_TIMES: u32 = 2;

/// The lead changes only to what can be heard, about 50 dB below full scale.
const LEVEL_HEARD: u32 = 100;

/// A level falls by an eighth a frame: to a half in 100 ms.
const LEVEL_DECAY: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_hears_all_but_themselves() {
        let (one, two, three) = (flat(1000), flat(20), flat(-3));
        let mut mix = Mix::new();
        for frame in [one, two, three] {
            mix.add(&frame);
        }
        assert_eq!(mix.all(), flat(1017));
        assert_eq!(mix.without(&one), flat(17));
        assert_eq!(mix.without(&three), flat(1020));
    }

    #[test]
    fn a_loud_mix_saturates_and_still_loses_nothing_for_the_loud_one() {
        let mut mix = Mix::new();
        mix.add(&flat(30_000));
        mix.add(&flat(10_000));
        assert_eq!(mix.all(), flat(i16::MAX));
        assert_eq!(mix.without(&flat(30_000)), flat(10_000));
        mix.add(&flat(i16::MIN));
        mix.add(&flat(i16::MIN));
        assert_eq!(mix.all(), flat(-25_536));
    }

    #[test]
    fn a_sole_participant_passes_straight_through() {
        let mut ear = Ear::new();
        for n in 0..100 {
            ear.push(&id("p_1"), &flat(n));
            assert_eq!((ear.poll(), ear.poll()), (Some(flat(n)), None));
        }
    }

    #[test]
    fn others_wait_for_the_leaders_next_frame_and_no_longer() {
        let mut ear = Ear::new();
        for n in 0..50 {
            ear.push(&id("p_1"), &flat(1000));
            let expected = if n == 0 { 1000 } else { 1000 + n - 1 };
            assert_eq!(all(&mut ear), [flat(expected)]);
            ear.push(&id("p_2"), &flat(n));
            assert_eq!(all(&mut ear), []);
        }
        assert_eq!(ear.left_out(), 0);
    }

    #[test]
    fn the_louder_voice_takes_the_lead_and_is_heard_at_once() {
        let mut ear = Ear::new();
        ear.push(&id("p_1"), &flat(10));
        assert_eq!(all(&mut ear), [flat(10)]);
        ear.push(&id("p_2"), &flat(5000));
        assert_eq!(all(&mut ear), [flat(5000)]);
        ear.push(&id("p_1"), &flat(10));
        assert_eq!(all(&mut ear), []);
        ear.push(&id("p_2"), &flat(5000));
        assert_eq!(all(&mut ear), [flat(5010)]);
    }

    #[test]
    fn a_leader_that_gives_nothing_loses_the_lead_and_nothing_is_lost() {
        let mut ear = Ear::new();
        ear.push(&id("p_1"), &flat(5000));
        assert_eq!(all(&mut ear).len(), 1);
        let mut heard = Vec::new();
        for n in 1..=20 {
            ear.push(&id("p_2"), &flat(n));
            heard.extend(all(&mut ear));
        }
        let expected: Vec<_> = (1..=20).map(flat).collect();
        assert_eq!(heard, expected);
    }

    #[test]
    fn a_participant_may_leave_while_it_leads() {
        let mut ear = Ear::new();
        ear.push(&id("p_1"), &flat(5000));
        assert_eq!(all(&mut ear).len(), 1);
        ear.push(&id("p_2"), &flat(7));
        ear.push(&id("p_3"), &flat(700));
        assert_eq!(all(&mut ear), []);
        ear.remove(&id("p_1"));
        assert_eq!(all(&mut ear), [flat(707)]);
        ear.remove(&id("p_2"));
        ear.push(&id("p_3"), &flat(3));
        assert_eq!(all(&mut ear), [flat(3)]);
        ear.remove(&id("p_3"));
        ear.remove(&id("p_3"));
        assert_eq!(ear.poll(), None);
    }

    #[test]
    fn what_stands_too_long_is_left_out() {
        let mut ear = Ear::new();
        ear.push(&id("p_1"), &flat(5000));
        all(&mut ear);
        ear.push(&id("p_2"), &flat(0));
        for n in 1..=40 {
            ear.push(&id("p_2"), &flat(n));
            ear.push(&id("p_1"), &flat(5000));
            assert_eq!(all(&mut ear).len(), 1);
        }
        assert_eq!(ear.left_out(), 1);
        ear.push(&id("p_2"), &flat(41));
        ear.push(&id("p_1"), &flat(5000));
        assert_eq!(all(&mut ear), [flat(5041)]);
    }

    fn all(ear: &mut Ear) -> Vec<Frame24k> {
        std::iter::from_fn(|| ear.poll()).collect()
    }

    fn id(name: &str) -> ParticipantId {
        ParticipantId::new(name)
    }

    fn flat(sample: i16) -> Frame24k {
        Frame24k::new([sample; 480])
    }
}
