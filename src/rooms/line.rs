//! One continuous RTP stream to one listener, whoever is speaking in it.

use std::time::Instant;

use bytes::Bytes;

use crate::ids::ParticipantId;
use crate::media::{OpusPacket, RTP_TICKS_PER_FRAME};
use crate::sys::entropy;

/// Gives packets of changing sources the numbers of one stream.
///
/// Within a source, gaps and order are kept, so that the listener sees losses as they are. No
/// number is ever used twice: under SRTP that would give away what was encrypted with it.
#[derive(Debug)]
pub(super) struct Line {
    source: Source,
    /// The newest number that was used, and its time.
    sequence: u16,
    timestamp: u32,
    at: Instant,
    /// Which numbers before the newest have been used: bit 0 is the newest itself.
    used: u128,
}

#[derive(Clone, Debug, PartialEq)]
enum Source {
    None,
    /// Packets as they are, moved by a constant.
    Participant {
        id: ParticipantId,
        sequence_offset: u16,
        timestamp_offset: u32,
    },
    /// The mixer, and the tick of its last packet.
    Mix {
        tick: u64,
    },
}

impl Line {
    /// A stream that will begin after these (random) numbers.
    pub(super) fn new(sequence: u16, timestamp: u32, now: Instant) -> Self {
        Self { source: Source::None, sequence, timestamp, at: now, used: u128::MAX }
    }

    /// A stream that begins at random numbers (RFC 3550, section 5.1), the sequence in its lower
    /// half: should the first packets be lost, no one can then miss its wrap (RFC 3711, section
    /// 3.3.1).
    pub(super) fn begin(now: Instant) -> Self {
        let (mut sequence, mut timestamp) = ([0; 2], [0; 4]);
        entropy::fill(&mut sequence);
        entropy::fill(&mut timestamp);
        let sequence = u16::from_le_bytes(sequence) >> 1;
        Self::new(sequence, u32::from_le_bytes(timestamp), now)
    }

    /// A participant's packet as part of this stream; `None` if it is too late to have a place.
    pub(super) fn pass(&mut self, packet: &OpusPacket, now: Instant) -> Option<OpusPacket> {
        let is_anchored = self.anchor(packet, now);
        let Source::Participant { sequence_offset, timestamp_offset, .. } = &self.source else {
            return None;
        };
        let sequence = packet.sequence.wrapping_add(*sequence_offset);
        let timestamp = packet.timestamp.wrapping_add(*timestamp_offset);
        self.take(sequence, timestamp, now).then(|| OpusPacket {
            sequence,
            timestamp,
            marker: packet.marker || is_anchored,
            ..packet.clone()
        })
    }

    /// A packet of the mixer, made at its `tick`.
    pub(super) fn mixed(&mut self, tick: u64, payload: Bytes, now: Instant) -> OpusPacket {
        let (elapsed, marker) = match self.source {
            Source::Mix { tick: last } => {
                let ticks = u32::try_from(tick.saturating_sub(last)).unwrap_or(u32::MAX);
                (ticks.wrapping_mul(RTP_TICKS_PER_FRAME), ticks > 1)
            }
            Source::None | Source::Participant { .. } => (self.elapsed(now), true),
        };
        self.source = Source::Mix { tick };
        let sequence = self.sequence.wrapping_add(1);
        let timestamp = self.timestamp.wrapping_add(elapsed);
        self.take(sequence, timestamp, now);
        // Whose sound this is has no single answer, and nobody asks behind this point.
        let participant = ParticipantId::new("mix");
        OpusPacket { participant, sequence, timestamp, marker, payload, at: now }
    }

    /// Ties a new source, or one that has begun anew, to the end of what was sent.
    fn anchor(&mut self, packet: &OpusPacket, now: Instant) -> bool {
        if let Source::Participant { id, sequence_offset, .. } = &self.source {
            let sequence = packet.sequence.wrapping_add(*sequence_offset);
            let is_near = distance(sequence, self.sequence).unsigned_abs() < RESTART;
            if *id == packet.participant && is_near {
                return false;
            }
        }
        let (next, time) = (self.sequence.wrapping_add(1), self.elapsed(now));
        self.used = u128::MAX;
        self.source = Source::Participant {
            id: packet.participant.clone(),
            sequence_offset: next.wrapping_sub(packet.sequence),
            timestamp_offset: self.timestamp.wrapping_add(time).wrapping_sub(packet.timestamp),
        };
        true
    }

    /// Marks a number as used; `false` if it was, or is too old to know.
    fn take(&mut self, sequence: u16, timestamp: u32, now: Instant) -> bool {
        let ahead = distance(sequence, self.sequence);
        if let Ok(ahead @ 1..) = u32::try_from(ahead) {
            self.used = self.used.checked_shl(ahead).unwrap_or(0) | 1;
            (self.sequence, self.timestamp, self.at) = (sequence, timestamp, now);
            return true;
        }
        let place = 1_u128.checked_shl(ahead.unsigned_abs().into()).unwrap_or(0);
        let is_free = place != 0 && self.used & place == 0;
        self.used |= place;
        is_free
    }

    /// RTP time since the last packet, in whole frames, at least one.
    fn elapsed(&self, now: Instant) -> u32 {
        let frames = now.duration_since(self.at).as_millis().div_ceil(FRAME_MS).max(1);
        u32::try_from(frames).unwrap_or(u32::MAX).wrapping_mul(RTP_TICKS_PER_FRAME)
    }
}

/// How far `a` is ahead of `b`, the short way round.
fn distance(a: u16, b: u16) -> i16 {
    a.wrapping_sub(b).cast_signed()
}

const FRAME_MS: u128 = crate::media::FRAME_MS as u128;

/// A jump of so many packets is a new beginning of the source (RFC 3550, appendix A.1).
const RESTART: u16 = 3000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_keeps_its_gaps_and_its_order() {
        let mut line = Scene::new();
        assert_eq!(line.says("a", 500), Some((11, 1960)));
        assert_eq!(line.says("a", 503), Some((14, 1960 + 3 * 960)));
        assert_eq!(line.says("a", 502), Some((13, 1960 + 2 * 960)));
        assert_eq!(line.says("a", 504), Some((15, 1960 + 4 * 960)));
    }

    #[test]
    fn another_source_goes_on_where_the_first_ended_and_time_has_passed() {
        let mut line = Scene::new();
        line.says("a", 500);
        line.now += Duration::from_millis(95);
        assert_eq!(line.says("b", 9), Some((12, 1960 + 5 * 960)));
        assert_eq!(line.says("b", 10), Some((13, 1960 + 6 * 960)));
    }

    #[test]
    fn no_number_is_used_twice() {
        let mut line = Scene::new();
        line.says("a", 500);
        line.says("a", 501);
        assert_eq!(line.says("a", 501), None, "a duplicate");
        line.says("b", 100);
        assert_eq!(line.says("b", 99), None, "late, and its place is the other source's");
        for sequence in 101..300 {
            assert!(line.says("b", sequence).is_some());
        }
        assert_eq!(line.says("b", 150), None, "too old to know");
    }

    #[test]
    fn a_source_that_jumps_begins_anew() {
        let mut line = Scene::new();
        line.says("a", 500);
        assert_eq!(line.says("a", 40_000).map(|(sequence, _)| sequence), Some(12));
        assert_eq!(line.says("a", 40_001).map(|(sequence, _)| sequence), Some(13));
    }

    #[test]
    fn the_stream_goes_on_through_the_wrap() {
        let mut line = Scene::new();
        line.says("a", 65_535);
        assert_eq!(line.says("a", 0).map(|(sequence, _)| sequence), Some(12));
        let mut line = Line::new(65_535, u32::MAX, line.now);
        let packet = line.pass(&packet("a", 7), line.at).unwrap();
        assert_eq!((packet.sequence, packet.timestamp), (0, 959));
    }

    #[test]
    fn the_mixer_follows_and_is_followed_without_a_break() {
        let mut line = Scene::new();
        line.says("a", 500);
        line.now += Duration::from_millis(20);
        assert_eq!(line.mixes(70), (12, 2920, true));
        assert_eq!(line.mixes(71), (13, 3880, false));
        assert_eq!(line.mixes(75), (14, 3880 + 4 * 960, true), "it had nothing to say");
        assert_eq!(line.says("a", 900).map(|(sequence, _)| sequence), Some(15));
    }

    #[test]
    fn where_a_source_begins_is_marked() {
        let mut line = Line::new(0, 0, crate::sys::clock::now());
        let marks: Vec<bool> = [("a", 1), ("a", 2), ("b", 1)]
            .map(|(id, sequence)| line.pass(&packet(id, sequence), line.at).unwrap().marker)
            .into();
        assert_eq!(marks, [true, false, true]);
    }

    struct Scene {
        line: Line,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let now = crate::sys::clock::now();
            Self { line: Line::new(10, 1000, now), now }
        }

        fn says(&mut self, id: &str, sequence: u16) -> Option<(u16, u32)> {
            let packet = self.line.pass(&packet(id, sequence), self.now)?;
            Some((packet.sequence, packet.timestamp))
        }

        fn mixes(&mut self, tick: u64) -> (u16, u32, bool) {
            let packet = self.line.mixed(tick, Bytes::new(), self.now);
            (packet.sequence, packet.timestamp, packet.marker)
        }
    }

    fn packet(id: &str, sequence: u16) -> OpusPacket {
        OpusPacket {
            participant: ParticipantId::new(id),
            sequence,
            timestamp: u32::from(sequence) * 960,
            marker: false,
            payload: Bytes::from_static(b"opus"),
            at: crate::sys::clock::now(),
        }
    }
}
