//! An Opus packet between a room and an agent.

use std::time::Instant;

use bytes::Bytes;

use crate::ids::ParticipantId;

/// RTP time runs at 48 kHz whatever rate Opus codes at (RFC 7587, section 4.1).
pub const RTP_TICKS_PER_FRAME: u32 = 960;

/// The largest Opus payload taken, in bytes: three frames of the largest size fit one datagram.
pub const PAYLOAD_MAX: usize = 1275;

/// One RTP packet's worth of Opus.
#[derive(Clone, Debug, PartialEq)]
pub struct OpusPacket {
    /// Who speaks.
    pub participant: ParticipantId,
    /// RTP sequence number of the speaker's stream.
    pub sequence: u16,
    /// RTP timestamp of the speaker's stream, 48 kHz.
    pub timestamp: u32,
    /// Whether a stretch of speech begins here (RFC 7587, section 4.2).
    pub marker: bool,
    /// The Opus data; empty means nothing was sent (DTX).
    pub payload: Bytes,
    /// When it came off the network; of a packet of ours, when it was due to leave.
    pub at: Instant,
}
