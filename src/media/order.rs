//! Packets of one participant, in whatever order they come, brought back into sequence.

use std::time::{Duration, Instant};

use super::frame::FRAME_MS;
use super::packet::{OpusPacket, RTP_TICKS_PER_FRAME};

/// Puts packets into sequence. The next in sequence passes at once; only a gap waits.
///
/// A gap shows itself by a packet after it. Where packets have not overtaken each other lately,
/// what is missing is lost, and the gap does not wait at all. Where they have, it waits for as long
/// as such packets took, counted from when the missing one was due, and at most [`GAP_WAIT_MAX`]
/// after it was missed. Then the rest passes, told how many packets are lost before it.
#[derive(Debug)]
pub struct Order {
    next: Option<u16>,
    timestamp: u32,
    held: Box<[Option<Held>]>,
    /// Bit `k` tells whether the packet `k + 1` before `next` has passed.
    passed: u64,
    restarted: bool,
    suspect: Option<OpusPacket>,
    /// How late an overtaken packet may be, from what was seen. It shrinks with every packet.
    reach: Duration,
    /// The packet behind the last gap that was given up.
    closed_by: Option<Overtaker>,
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
            reach: Duration::ZERO,
            closed_by: None,
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
            Place::Ahead => {
                self.learn(&packet, now);
                self.hold(packet, now);
            }
            Place::Behind(distance) if self.is_same_stream(&packet) => {
                self.drop_behind(distance, &packet, now);
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
        if lost > 0 {
            self.closed_by = Some(Overtaker::of(&held));
        }
        self.reach -= self.reach / FORGETTING;
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
        let next = self.next?;
        let (mut seen, mut due) = (None::<Instant>, None::<Instant>);
        for held in self.held.iter().flatten() {
            let missed_at = held.arrived.checked_sub(self.lead(held, next)).unwrap_or(held.arrived);
            seen = Some(seen.map_or(held.arrived, |seen| seen.min(held.arrived)));
            due = Some(due.map_or(missed_at, |due| due.min(missed_at)));
        }
        let (seen, due) = (seen?, due?);
        Some((due + self.reach).clamp(seen, seen + GAP_WAIT_MAX))
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

    /// How long before a held packet the next one in sequence was due, from their RTP times.
    fn lead(&self, held: &Held, next: u16) -> Duration {
        let packets = u32::from(held.packet.sequence.wrapping_sub(next));
        let ticks = held.packet.timestamp.wrapping_sub(self.timestamp) / (packets + 1);
        // After a pause, RTP time says nothing of how packets follow each other.
        packets * duration(ticks.min(PACKET_TICKS))
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
        self.passed = self.passed.checked_shl(u32::from(lost)).unwrap_or(0);
        self.stats.lost += u64::from(lost);
    }

    fn drop_behind(&mut self, distance: u16, packet: &OpusPacket, now: Instant) {
        if (self.passed >> (distance - 1)) & 1 == 1 {
            self.stats.duplicate += 1;
            return;
        }
        self.stats.late += 1;
        self.learn(packet, now);
    }

    /// Waits longer from here on, if a packet that was overtaken took longer than we are ready to
    /// wait. One that took longer than we shall ever wait teaches nothing.
    fn learn(&mut self, packet: &OpusPacket, now: Instant) {
        let held = self.held.iter().flatten().map(Overtaker::of);
        let overtakers = held.chain(self.closed_by).filter_map(|other| other.due(packet));
        let Some(due) = overtakers.min() else { return };
        let late = now.saturating_duration_since(due);
        if late <= GAP_WAIT_MAX + FRAME {
            self.reach = self.reach.max(late + late / 4);
        }
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
        self.closed_by = None;
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

/// A packet that came before one that it should have followed.
#[derive(Clone, Copy, Debug)]
struct Overtaker {
    sequence: u16,
    timestamp: u32,
    arrived: Instant,
}

impl Overtaker {
    const fn of(held: &Held) -> Self {
        let OpusPacket { sequence, timestamp, .. } = held.packet;
        Self { sequence, timestamp, arrived: held.arrived }
    }

    /// When an overtaken packet was due; `None` if it was not overtaken by this one.
    fn due(&self, packet: &OpusPacket) -> Option<Instant> {
        let ahead = self.sequence.wrapping_sub(packet.sequence);
        if ahead == 0 || ahead > WINDOW_PACKETS {
            return None;
        }
        let ticks = self.timestamp.wrapping_sub(packet.timestamp);
        let lead = duration(ticks.min(u32::from(ahead) * PACKET_TICKS));
        Some(self.arrived.checked_sub(lead).unwrap_or(self.arrived))
    }
}

/// Where a sequence number lies, seen from the one that is next.
enum Place {
    Ahead,
    Behind(u16),
    Elsewhere,
}

fn place(sequence: u16, next: u16) -> Place {
    let ahead = sequence.wrapping_sub(next);
    let behind = next.wrapping_sub(sequence);
    if ahead < WINDOW_PACKETS {
        Place::Ahead
    } else if behind <= WINDOW_PACKETS {
        Place::Behind(behind)
    } else {
        Place::Elsewhere
    }
}

fn slot(sequence: u16) -> usize {
    usize::from(sequence) % WINDOW
}

/// So much RTP time as time.
fn duration(ticks: u32) -> Duration {
    Duration::from_micros(u64::from(ticks) * 125 / 6)
}

/// The longest that a gap waits after it was seen.
pub const GAP_WAIT_MAX: Duration = Duration::from_millis(60);

/// Of how long overtaken packets took, this part is forgotten with each packet: half of it in
/// 14 seconds.
const FORGETTING: u32 = 1024;

const FRAME: Duration = Duration::from_millis(FRAME_MS);

/// What a packet lasts at most where that is not known: RTP time of 20 ms.
const PACKET_TICKS: u32 = RTP_TICKS_PER_FRAME;

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
    fn a_gap_is_closed_at_once_where_nothing_was_overtaken() {
        let (mut order, now) = (running_at(10), start());
        order.push(packet(13), now);
        assert_eq!(order.poll(now).map(|ordered| ordered.before), Some(Before::Lost(2)));
        assert_eq!(order.stats().lost, 2);
        assert_eq!(order.deadline(), None);
    }

    #[test]
    fn where_packets_were_overtaken_a_gap_waits_for_the_missing_one() {
        let (mut order, now) = overtaken_by(ms(15));
        order.push(packet(22), now + ms(20));
        assert_eq!(order.poll(now + ms(35)), None);
        order.push(packet(21), now + ms(35));
        assert_eq!(sequences(&mut order, now + ms(35)), [21, 22]);
        assert_eq!(order.stats().lost, 1);
    }

    #[test]
    fn the_wait_counts_from_when_the_missing_packet_was_due() {
        let (mut order, now) = overtaken_by(ms(15));
        // The one before it was due 20 ms earlier, and came 35 ms after that; a quarter more.
        order.push(packet(22), now + ms(20));
        let wait = order.deadline().expect("a gap is open") - (now + ms(20));
        assert!((ms(22)..ms(24)).contains(&wait), "{wait:?}");
        assert_eq!(sequences(&mut order, now + ms(60)), [22]);
        // The first of three missing was due 60 ms earlier: it has had its time.
        order.push(packet(26), now + ms(140));
        assert_eq!(sequences(&mut order, now + ms(140)), [26]);
    }

    #[test]
    fn late_packets_and_duplicates_are_dropped_and_told_apart() {
        let (mut order, now) = (running_at(10), start());
        order.push(packet(12), now);
        assert_eq!(sequences(&mut order, now), [12]);
        order.push(packet(11), now + GAP_WAIT_MAX);
        order.push(packet(12), now + GAP_WAIT_MAX);
        order.push(packet(10), now + GAP_WAIT_MAX);
        assert_eq!(sequences(&mut order, now + GAP_WAIT_MAX), [0; 0]);
        assert_eq!((order.stats().late, order.stats().duplicate), (1, 2));
    }

    #[test]
    fn no_gap_waits_beyond_the_limit_and_what_came_later_teaches_nothing() {
        let (mut order, now) = overtaken_by(ms(60));
        order.push(packet(22), now + ms(100));
        assert_eq!(order.deadline(), Some(now + ms(100) + GAP_WAIT_MAX));
        let (mut order, now) = overtaken_by(ms(61));
        order.push(packet(22), now + ms(100));
        assert_eq!(sequences(&mut order, now + ms(100)), [22]);
    }

    #[test]
    fn what_was_overtaken_is_forgotten_slowly() {
        let (mut order, mut now) = overtaken_by(ms(40));
        let mut sequence = 20;
        let mut wait = |order: &mut Order, packets: u16| {
            for _ in 0..packets {
                sequence += 1;
                now += ms(20);
                order.push(packet(sequence), now);
                assert_eq!(sequences(order, now), [sequence]);
            }
            sequence += 2;
            now += ms(40);
            order.push(packet(sequence), now);
            let wait = order.deadline().map(|deadline| deadline.saturating_duration_since(now));
            assert_eq!(sequences(order, now + GAP_WAIT_MAX), [sequence]);
            wait.expect("a gap was open")
        };
        assert!((ms(50)..ms(56)).contains(&wait(&mut order, 50)));
        assert!((ms(10)..ms(30)).contains(&wait(&mut order, 700)));
        assert_eq!(wait(&mut order, 700), ms(0));
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
        fn delays_within_what_was_seen_lose_nothing(
            delays_ms in prop::collection::vec(0..=45_u64, 30),
            twice in 0..30_usize,
        ) {
            let (mut order, mut now) = overtaken_by(ms(60));
            let mut arrivals: Vec<_> =
                (0..).zip(&delays_ms).map(|(n, delay)| (n * 20 + delay, n)).collect();
            arrivals.push(arrivals[twice]);
            arrivals.sort_unstable();
            let began = now;
            let mut out = Vec::new();
            for (at, n) in arrivals {
                now = began + ms(at);
                order.push(packet(21 + u16::try_from(n).unwrap()), now);
                out.extend(sequences(&mut order, now));
            }
            prop_assert_eq!(out, (21..51).collect::<Vec<_>>());
            prop_assert_eq!((order.stats().lost, order.stats().duplicate), (1, 1));
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

    /// Order after the packet 19 was overtaken by 20, and came so long after it.
    fn overtaken_by(late: Duration) -> (Order, Instant) {
        let (mut order, now) = (running_at(18), start());
        order.push(packet(20), now);
        assert_eq!(sequences(&mut order, now), [20]);
        order.push(packet(19), now + late);
        assert_eq!(sequences(&mut order, now + late), [0; 0]);
        (order, now + late)
    }

    fn sequences(order: &mut Order, now: Instant) -> Vec<u16> {
        std::iter::from_fn(|| order.poll(now)).map(|ordered| ordered.packet.sequence).collect()
    }

    fn packet(sequence: u16) -> OpusPacket {
        OpusPacket {
            participant: ParticipantId::new("p_1"),
            sequence,
            timestamp: i32::from(sequence.cast_signed()).cast_unsigned().wrapping_mul(960),
            marker: false,
            payload: Bytes::new(),
            at: start(),
        }
    }
}
