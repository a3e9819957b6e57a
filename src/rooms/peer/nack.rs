//! Asks a peer for the packets that have not come (RTCP NACK; RFC 4585, section 6.2.1).
//!
//! The engine's own generator asks every 100 ms, when speech no longer waits. This one asks when a
//! gap shows itself, and has no timer: the packets that follow are its clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::interceptor::{AttributedPacket, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;

/// How many of our own packets are kept for a peer that asks: 640 ms of them, a power of two.
pub(super) const KEPT_PACKETS: u16 = 32;

/// Asks for what is missing in the streams whose senders have agreed to that.
#[derive(Default)]
pub(super) struct Asker {
    /// Our own name in what we ask.
    own_ssrc: u32,
    streams: Vec<(u32, Gaps)>,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Asker {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtp(rtp) = &packet.message.packet
            && let Some((ssrc, gaps)) =
                self.streams.iter_mut().find(|(ssrc, _)| *ssrc == rtp.header.ssrc)
        {
            let asked = gaps.see(rtp.header.sequence_number, packet.now);
            if !asked.is_empty() {
                let nack = TransportLayerNack {
                    sender_ssrc: self.own_ssrc,
                    media_ssrc: *ssrc,
                    nacks: nack_pairs_from_sequence_numbers(&asked),
                };
                self.outbound.push_back(TaggedPacket {
                    now: packet.now,
                    transport: TransportContext::default(),
                    message: AttributedPacket::new(Packet::Rtcp(vec![Box::new(nack)])),
                });
            }
        }
        self.inbound.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.outbound.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }
}

impl Interceptor for Asker {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.own_ssrc = info.ssrc;
    }

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        let has_nack = |kind: &str, parameter: &str| kind == "nack" && parameter.is_empty();
        self.unbind_remote_stream(info);
        if info.rtcp_feedback.iter().any(|feedback| has_nack(&feedback.typ, &feedback.parameter)) {
            self.streams.push((info.ssrc, Gaps::default()));
        }
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.streams.retain(|(ssrc, _)| *ssrc != info.ssrc);
    }
}

/// What has not come of one stream.
#[derive(Debug, Default)]
struct Gaps {
    newest: Option<u16>,
    missing: Vec<Missing>,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    sequence: u16,
    asked: u8,
    at: Instant,
}

impl Gaps {
    /// A packet has come. Gives what is to be asked for; nothing is allocated if that is nothing.
    fn see(&mut self, sequence: u16, now: Instant) -> Vec<u16> {
        let newest = *self.newest.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(newest).cast_signed();
        if ahead.unsigned_abs() > MISSING_MAX {
            // So much at once is a pause of the network, or another stream.
            self.missing.clear();
            self.newest = Some(sequence);
        } else if ahead > 0 {
            let skipped = (1..ahead.unsigned_abs()).map(|step| newest.wrapping_add(step));
            self.missing.extend(skipped.map(|sequence| Missing { sequence, asked: 0, at: now }));
            self.newest = Some(sequence);
        } else {
            self.missing.retain(|missing| missing.sequence != sequence);
        }
        if self.missing.is_empty() {
            return Vec::new();
        }
        let newest = self.newest.unwrap_or(sequence);
        self.missing.retain(|missing| {
            newest.wrapping_sub(missing.sequence) <= MISSING_MAX && missing.asked < ASKED_MAX
        });
        let is_due = |missing: &&mut Missing| {
            missing.asked == 0 || now.saturating_duration_since(missing.at) >= AGAIN
        };
        let ask = |missing: &mut Missing| {
            (missing.asked, missing.at) = (missing.asked + 1, now);
            missing.sequence
        };
        self.missing.iter_mut().filter(is_due).map(ask).collect()
    }
}

/// What is older than so many packets is not asked for: 320 ms later nobody waits for it.
const MISSING_MAX: u16 = 16;

/// How often a packet is asked for, and how long after the last time: a usual round trip.
const ASKED_MAX: u8 = 3;
const AGAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn a_gap_is_asked_for_when_it_shows_itself() {
        let (mut gaps, now) = (Gaps::default(), clock::now());
        assert_eq!(gaps.see(65_534, now), [0; 0]);
        assert_eq!(gaps.see(2, now), [65_535, 0, 1]);
        assert_eq!(gaps.see(3, now), [0; 0], "it is on its way");
    }

    #[test]
    fn what_has_come_is_not_asked_for_again() {
        let (mut gaps, now) = (Gaps::default(), clock::now());
        gaps.see(10, now);
        assert_eq!(gaps.see(13, now), [11, 12]);
        gaps.see(11, now);
        assert_eq!(gaps.see(14, now + AGAIN), [12]);
        assert_eq!(gaps.see(15, now + 2 * AGAIN), [12]);
        assert_eq!(gaps.see(16, now + 3 * AGAIN), [0; 0], "it was asked for often enough");
    }

    #[test]
    fn a_long_pause_and_a_new_stream_are_not_asked_for() {
        let (mut gaps, now) = (Gaps::default(), clock::now());
        gaps.see(10, now);
        assert_eq!(gaps.see(10 + MISSING_MAX + 1, now), [0; 0]);
        assert_eq!(gaps.see(40_000, now), [0; 0]);
        assert_eq!(gaps.see(40_002, now), [40_001]);
        assert!(gaps.missing.len() <= usize::from(MISSING_MAX));
    }
}
