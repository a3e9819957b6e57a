//! Frames into one continuous stream of packets, as a caller's microphone sends them.

use std::time::Instant;

use super::frame::Frame24k;
use super::opus::{CodecError, Encoder};
use super::packet::{OpusPacket, RTP_TICKS_PER_FRAME};
use crate::ids::ParticipantId;

/// An encoder and the numbers of its packets. It sends frame after frame, silence included.
#[derive(Debug)]
pub struct Microphone {
    participant: ParticipantId,
    encoder: Encoder,
    sequence: u16,
    timestamp: u32,
}

impl Microphone {
    /// A microphone of this participant's.
    pub fn new(participant: ParticipantId) -> Result<Self, CodecError> {
        Ok(Self { participant, encoder: Encoder::new()?, sequence: 0, timestamp: 0 })
    }

    /// The next 20 ms as a packet that leaves at this instant.
    pub fn packet(&mut self, frame: &Frame24k, at: Instant) -> OpusPacket {
        let packet = OpusPacket {
            participant: self.participant.clone(),
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: self.sequence == 0 && self.timestamp == 0,
            payload: self.encoder.encode(frame),
            at,
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(RTP_TICKS_PER_FRAME);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{speech, start};
    use super::*;

    #[test]
    fn packets_follow_each_other_without_a_gap() {
        let mut microphone = Microphone::new(ParticipantId::new("ann")).unwrap();
        let packets: Vec<_> =
            speech().iter().take(3).map(|frame| microphone.packet(frame, start())).collect();
        let numbers: Vec<_> = packets.iter().map(|p| (p.sequence, p.timestamp, p.marker)).collect();
        assert_eq!(numbers, [(0, 0, true), (1, 960, false), (2, 1920, false)]);
    }
}
