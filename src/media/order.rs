//! Packets of one participant, in whatever order they come, brought back into sequence.

use std::time::{Duration, Instant};

use super::packet::OpusPacket;

/// Puts packets into sequence. The next in sequence passes at once; only a gap waits.
///
/// A gap shows itself by a packet after it. It waits for what is missing, at most
/// [`GAP_WAIT_MAX`]; then the rest passes, told how many packets are lost before it.
#[derive(Debug)]
pub struct Order {
    next: Option<u16>,
    timestamp: u32,
    held: Box<[Option<Held>]>,
    /// Bit `k` tells whether the packet `k + 1` before `next` has passed.
    passed: u64,
    restarted: bool,
    suspect: Option<OpusPacket>,
    gap_wait: Duration,
    given_up_gap_seen: Option<Instant>,
    stats: OrderStats,
}

/// A packet in its place, and what is known of the place before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered {
    /// What lies between this packet and the one that passed before it.
    pub before: Before,
    /// The packet.
    pub packet: OpusPacket,
}

/// What lies before a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// The packet that passed last.
    Nothing,
    /// So many packets that have not come in time.
    Lost(u16),
    /// Another stream, or none: sequence and timestamp begin anew.
    Restart,
}

/// What became of packets that did not simply pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderStats {
    /// Packets that were not there when their turn came.
    pub lost: u64,
    /// Packets that came after they had been given up, and were dropped.
    pub late: u64,
    /// Packets that came twice; the second was dropped.
    pub duplicate: u64,
    /// How often the stream began anew, the first time included.
    pub restarts: u64,
}

impl Order {
    /// Waits for the first packet of any sequence.
    #[must_use]
    pub fn new() -> Self {
        Self {
            next: None,
            timestamp: 0,
            held: (0..WINDOW).map(|_| None).collect(),
            passed: 0,
            restarted: false,
            suspect: None,
            gap_wait: GAP_WAIT_MIN,
            given_up_gap_seen: None,
            stats: OrderStats::default(),
        }
    }

    /// Takes a packet that arrived at `now`. Drain [`Order::poll`] afterwards.
    pub fn push(&mut self, packet: OpusPacket, now: Instant) {
        let Some(next) = self.next else {
            self.restart_at(packet.sequence);
            self.hold(packet, now);
            return;
        };
        match place(packet.sequence, next) {
            Place::Ahead(0) => {
                if let Some(gap_seen) = self.oldest_arrival() {
                    self.learn(now.saturating_duration_since(gap_seen));
                }
                self.hold(packet, now);
            }
            Place::Ahead(_) => self.hold(packet, now),
            Place::Behind(distance) if self.is_same_stream(&packet) => {
                self.drop_behind(distance, now);
            }
            Place::Behind(_) | Place::Elsewhere => self.suspect_restart(packet, now),
        }
    }

    /// Gives the next packet that may pass, if there is one.
    pub fn poll(&mut self, now: Instant) -> Option<Ordered> {
        let next = self.next?;
        let lost = self.missing(next)?;
        if lost > 0 {
            if !self.is_crowded() && self.deadline().is_none_or(|deadline| now < deadline) {
                return None;
            }
            self.give_up(lost);
        }
        let sequence = next.wrapping_add(lost);
        let held = self.held[slot(sequence)].take()?;
        self.passed = (self.passed << 1) | 1;
        self.next = Some(sequence.wrapping_add(1));
        self.timestamp = held.packet.timestamp;
        let before = match (std::mem::take(&mut self.restarted), lost) {
            (true, _) => Before::Restart,
            (false, 0) => Before::Nothing,
            (false, lost) => Before::Lost(lost),
        };
        Some(Ordered { before, packet: held.packet })
    }

    /// When the gap that is being waited for will be given up; `None` if there is no gap.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.oldest_arrival()? + self.gap_wait)
    }

    /// What became of packets so far.
    #[must_use]
    pub const fn stats(&self) -> OrderStats {
        self.stats
    }

    /// How many packets are missing before the first one held; `None` if none is held.
    fn missing(&self, next: u16) -> Option<u16> {
        (0..WINDOW_PACKETS).find(|ahead| self.held[slot(next.wrapping_add(*ahead))].is_some())
    }

    fn oldest_arrival(&self) -> Option<Instant> {
        self.held.iter().flatten().map(|held| held.arrived).min()
    }

    /// Whether so many packets are held that a burst could outrun the window.
    fn is_crowded(&self) -> bool {
        self.held.iter().flatten().count() >= HELD_MAX
    }

    fn hold(&mut self, packet: OpusPacket, arrived: Instant) {
        self.suspect = None;
        let place = &mut self.held[slot(packet.sequence)];
        if place.is_some() {
            self.stats.duplicate += 1;
        } else {
            *place = Some(Held { packet, arrived });
        }
    }

    fn give_up(&mut self, lost: u16) {
        self.given_up_gap_seen = self.oldest_arrival();
        self.passed = self.passed.checked_shl(u32::from(lost)).unwrap_or(0);
        self.stats.lost += u64::from(lost);
        self.gap_wait = (self.gap_wait * 7 / 8).max(GAP_WAIT_MIN);
    }

    fn drop_behind(&mut self, distance: u16, now: Instant) {
        if (self.passed >> (distance - 1)) & 1 == 1 {
            self.stats.duplicate += 1;
            return;
        }
        self.stats.late += 1;
        if let Some(gap_seen) = self.given_up_gap_seen {
            self.learn(now.saturating_duration_since(gap_seen));
        }
    }

    /// Waits longer from here on, if a missing packet took longer than we are ready to wait.
    fn learn(&mut self, reordering: Duration) {
        let wanted = reordering + reordering / 2;
        self.gap_wait = self.gap_wait.max(wanted).min(GAP_WAIT_MAX);
    }

    /// Whether a packet from behind fits the stream by its RTP time: a stream that begins anew
    /// may by chance begin just behind, but hardly at the same time as well.
    fn is_same_stream(&self, packet: &OpusPacket) -> bool {
        let apart = packet.timestamp.wrapping_sub(self.timestamp).cast_signed();
        apart.unsigned_abs() < SAME_STREAM_TICKS
    }

    /// Begins anew once two packets agree on where the stream is (RFC 3550, appendix A.1):
    /// a single stray packet must not tear the stream.
    fn suspect_restart(&mut self, packet: OpusPacket, now: Instant) {
        let Some(suspect) = self.suspect.take() else {
            self.suspect = Some(packet);
            return;
        };
        let apart = packet.sequence.wrapping_sub(suspect.sequence).cast_signed();
        if apart == 0 || apart.unsigned_abs() > RESTART_SPREAD {
            self.suspect = Some(packet);
            return;
        }
        let first = if apart > 0 { suspect.sequence } else { packet.sequence };
        self.restart_at(first);
        self.hold(suspect, now);
        self.hold(packet, now);
    }

    fn restart_at(&mut self, sequence: u16) {
        self.stats.lost += self.held.iter_mut().filter_map(Option::take).map(|_| 1).sum::<u64>();
        self.next = Some(sequence);
        self.passed = 0;
        self.restarted = true;
        self.given_up_gap_seen = None;
        self.stats.restarts += 1;
    }
}

impl Default for Order {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct Held {
    packet: OpusPacket,
    arrived: Instant,
}

/// Where a sequence number lies, seen from the one that is next.
enum Place {
    Ahead(u16),
    Behind(u16),
    Elsewhere,
}

fn place(sequence: u16, next: u16) -> Place {
    let ahead = sequence.wrapping_sub(next);
    let behind = next.wrapping_sub(sequence);
    if ahead < WINDOW_PACKETS {
        Place::Ahead(ahead)
    } else if behind <= WINDOW_PACKETS {
        Place::Behind(behind)
    } else {
        Place::Elsewhere
    }
}

fn slot(sequence: u16) -> usize {
    usize::from(sequence) % WINDOW
}

/// The longest that a gap waits.
pub const GAP_WAIT_MAX: Duration = Duration::from_millis(60);

/// The shortest that a gap waits, and what it waits until reordering has been seen: one frame.
pub const GAP_WAIT_MIN: Duration = Duration::from_millis(20);

/// How far from the next packet a packet still belongs to the stream. At 10 ms a packet this is
/// ten times the longest wait.
const WINDOW: usize = 64;
const WINDOW_PACKETS: u16 = 64;

/// With so many packets held, a gap is given up before its time: a burst after a stall of the
/// network has come, and what is missing in it is lost.
const HELD_MAX: usize = WINDOW / 2;

/// How far apart two packets may be that prove together that a stream has begun anew.
const RESTART_SPREAD: u16 = 8;

/// How far apart in RTP time packets of one window may be: ten seconds.
const SAME_STREAM_TICKS: u32 = 10 * 48_000;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ParticipantId;
    use crate::media::testing::{ms, start};

    #[test]
    fn the_next_packet_passes_at_once() {
        let (mut order, now) = (Order::new(), start());
        for sequence in 7..10 {
            order.push(packet(sequence), now);
            assert_eq!(sequences(&mut order, now), [sequence]);
        }
        assert_eq!(order.deadline(), None);
    }

    #[test]
    fn a_gap_waits_for_the_missing_packet() {
        let (mut order, now) = (running_at(10), start());
        order.push(packet(12), now);
        assert_eq!(order.poll(now + ms(19)), None);
        order.push(packet(11), now + ms(19));
        assert_eq!(sequences(&mut order, now + ms(19)), [11, 12]);
        assert_eq!(order.stats().lost, 0);
    }

    #[test]
    fn a_gap_is_given_up_at_its_deadline_and_counted() {
        let (mut order, now) = (running_at(10), start());
        order.push(packet(13), now);
        let deadline = order.deadline().expect("a gap is open");
        assert_eq!(deadline, now + GAP_WAIT_MIN);
        assert_eq!(order.poll(deadline).map(|ordered| ordered.before), Some(Before::Lost(2)));
        assert_eq!(order.stats().lost, 2);
        assert_eq!(order.deadline(), None);
    }

    #[test]
    fn late_packets_and_duplicates_are_dropped_and_told_apart() {
        let (mut order, now) = (running_at(10), start());
        order.push(packet(12), now);
        assert_eq!(sequences(&mut order, now + GAP_WAIT_MAX), [12]);
        order.push(packet(11), now + GAP_WAIT_MAX);
        order.push(packet(12), now + GAP_WAIT_MAX);
        order.push(packet(10), now + GAP_WAIT_MAX);
        assert_eq!(sequences(&mut order, now + GAP_WAIT_MAX), [0; 0]);
        assert_eq!((order.stats().late, order.stats().duplicate), (1, 2));
    }

    #[test]
    fn gaps_wait_longer_once_reordering_was_seen_and_never_beyond_the_limit() {
        let (mut order, now) = (running_at(10), start());
        order.push(packet(12), now);
        assert_eq!(sequences(&mut order, now + ms(20)), [12]);
        order.push(packet(11), now + ms(30));
        order.push(packet(14), now + ms(40));
        assert_eq!(order.deadline(), Some(now + ms(40 + 45)));
        assert_eq!(sequences(&mut order, now + ms(100)), [14]);
        order.push(packet(13), now + ms(500));
        order.push(packet(16), now + ms(500));
        assert_eq!(order.deadline(), Some(now + ms(500) + GAP_WAIT_MAX));
    }

    #[test]
    fn a_burst_of_any_length_with_a_hole_loses_the_hole_only() {
        let (mut order, now) = (running_at(10), start());
        let mut out = Vec::new();
        for sequence in 12..512 {
            order.push(packet(sequence), now);
            out.extend(sequences(&mut order, now));
        }
        assert_eq!(out, (12..512).collect::<Vec<_>>());
        assert_eq!((order.stats().lost, order.stats().restarts), (1, 1));
    }

    #[test]
    fn sequence_numbers_wrap() {
        let (mut order, now) = (running_at(65_533), start());
        for sequence in [65_535, 1, 65_534, 0] {
            order.push(packet(sequence), now);
        }
        assert_eq!(sequences(&mut order, now), [65_534, 65_535, 0, 1]);
    }

    #[test]
    fn a_stray_packet_from_far_away_changes_nothing() {
        let (mut order, now) = (running_at(10), start());
        order.push(packet(40_000), now);
        order.push(packet(11), now);
        order.push(packet(40_001), now);
        order.push(packet(12), now);
        assert_eq!(sequences(&mut order, now), [11, 12]);
        assert_eq!(order.stats().restarts, 1);
    }

    #[test]
    fn two_packets_that_agree_begin_a_new_stream() {
        let (mut order, now) = (running_at(10), start());
        order.push(packet(40_001), now);
        order.push(packet(40_000), now);
        let first = order.poll(now).expect("the new stream has begun");
        assert_eq!((first.before, first.packet.sequence), (Before::Restart, 40_000));
        assert_eq!(sequences(&mut order, now), [40_001]);
    }

    #[test]
    fn a_new_stream_that_begins_just_behind_is_known_by_its_rtp_time() {
        let (mut order, now) = (running_at(100), start());
        for sequence in [90, 91] {
            order.push(OpusPacket { timestamp: 1 << 30, ..packet(sequence) }, now);
        }
        assert_eq!(sequences(&mut order, now), [90, 91]);
        assert_eq!(order.stats().late, 0);
    }

    proptest! {
        #[test]
        fn any_order_within_the_wait_comes_out_in_sequence(
            first in any::<u16>(),
            order_of in Just((1..30_u16).collect::<Vec<_>>()).prop_shuffle(),
            twice in 1..30_u16,
        ) {
            let (mut order, now) = (running_at(first), start());
            let mut out = Vec::new();
            for offset in order_of.iter().copied().chain([twice]) {
                order.push(packet(first.wrapping_add(offset)), now);
                out.extend(sequences(&mut order, now));
            }
            let expected: Vec<_> = (1..30).map(|offset| first.wrapping_add(offset)).collect();
            prop_assert_eq!(out, expected);
            prop_assert_eq!(order.stats().duplicate, 1);
        }

        #[test]
        fn whatever_comes_nothing_passes_twice_or_stays(
            arrivals in prop::collection::vec((0..60_u16, 0..30_u64), 1..200),
        ) {
            let (mut order, mut now) = (running_at(65_500), start());
            let mut out = Vec::new();
            for (offset, wait_ms) in arrivals {
                now += ms(wait_ms);
                order.push(packet(65_501_u16.wrapping_add(offset)), now);
                out.extend(sequences(&mut order, now));
            }
            out.extend(sequences(&mut order, now + GAP_WAIT_MAX));
            let offsets: Vec<_> = out.iter().map(|number| number.wrapping_sub(65_501)).collect();
            prop_assert!(offsets.is_sorted_by(|one, other| one < other));
            prop_assert_eq!(order.deadline(), None);
        }
    }

    fn running_at(sequence: u16) -> Order {
        let mut order = Order::new();
        order.push(packet(sequence), start());
        assert_eq!(sequences(&mut order, start()), [sequence]);
        order
    }

    fn sequences(order: &mut Order, now: Instant) -> Vec<u16> {
        std::iter::from_fn(|| order.poll(now)).map(|ordered| ordered.packet.sequence).collect()
    }

    fn packet(sequence: u16) -> OpusPacket {
        OpusPacket {
            participant: ParticipantId::new("p_1"),
            sequence,
            timestamp: 0,
            marker: false,
            payload: Bytes::new(),
        }
    }
}
