//! How what a peer says becomes what the house speaks: Opus, packet by packet.

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::codecs::Format;
use crate::media::{
    CodecError, OpusPacket, PAYLOAD_MAX, RedReader, TICKS_PER_TELEPHONE_TICK, TelephoneIn,
};

/// Understands one peer.
#[derive(Debug)]
pub(super) struct Hearing {
    payload_type: u8,
    language: Language,
    /// What came together with a packet that was given: no more than one packet brings.
    pending: VecDeque<OpusPacket>,
}

#[derive(Debug)]
enum Language {
    /// It is what the house speaks.
    Opus,
    /// It is that, but some of it comes in RED, by this payload type, with older packets.
    Red { payload_type: u8, reader: RedReader },
    /// A telephone's sound, which is encoded.
    Telephone(Box<TelephoneIn>),
}

impl Hearing {
    pub(super) fn new(format: Format) -> Result<Self, CodecError> {
        let language = match (format.codec.law(), format.red) {
            (Some(law), _) => Language::Telephone(TelephoneIn::new(law)?.into()),
            (None, None) => Language::Opus,
            (None, Some(payload_type)) => {
                Language::Red { payload_type, reader: RedReader::new(format.payload_type) }
            }
        };
        Ok(Self { payload_type: format.payload_type, language, pending: VecDeque::new() })
    }

    /// What a packet says. If it brings more than one, [`Hearing::next`] gives the others.
    pub(super) fn understand(
        &mut self,
        payload_type: u8,
        mut packet: OpusPacket,
    ) -> Option<OpusPacket> {
        let is_plain = payload_type == self.payload_type;
        match &mut self.language {
            Language::Opus if is_plain => {}
            Language::Red { payload_type: red, reader } if payload_type == *red => {
                let pending = &mut self.pending;
                // One that cannot be read leaves a gap, as one that was lost.
                let _ = reader.read(packet, |part| pending.push_back(part));
                return self.next();
            }
            Language::Red { reader, .. } if is_plain => {
                if !reader.pass(&packet) {
                    return None;
                }
            }
            Language::Telephone(telephone) if is_plain => {
                packet.timestamp = packet.timestamp.wrapping_mul(TICKS_PER_TELEPHONE_TICK);
                packet.payload = telephone.convert(&packet.payload).unwrap_or_default();
            }
            // Keys that were pressed, or noise for comfort: no sound, but no loss either.
            Language::Opus | Language::Red { .. } | Language::Telephone(_) => {
                packet.payload = Bytes::new();
            }
        }
        is_of_size(&packet).then_some(packet)
    }

    /// What came together with the packet before.
    pub(super) fn next(&mut self) -> Option<OpusPacket> {
        while let Some(packet) = self.pending.pop_front() {
            if is_of_size(&packet) {
                return Some(packet);
            }
        }
        None
    }
}

const fn is_of_size(packet: &OpusPacket) -> bool {
    packet.payload.len() <= PAYLOAD_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ParticipantId;
    use crate::rooms::codecs::Codec;

    #[test]
    fn opus_is_understood_as_it_is() {
        let mut hearing = hearing(Codec::Opus, false);
        let said = packet(7, b"opus");
        let heard = hearing.understand(111, said.clone()).unwrap();
        assert_eq!((&heard, heard.payload.as_ptr()), (&said, said.payload.as_ptr()));
        assert_eq!(hearing.understand(111, packet(8, &[0; PAYLOAD_MAX + 1])), None);
    }

    #[test]
    fn keys_and_comfort_noise_keep_their_place_and_are_no_sound() {
        for codec in [Codec::Opus, Codec::Pcmu, Codec::Pcma] {
            for has_red in [false, true] {
                let mut hearing = hearing(codec, has_red);
                for (sequence, payload_type) in [(1, 13), (2, 101), (3, 96)] {
                    let heard = hearing.understand(payload_type, packet(sequence, b"keys"));
                    let place = heard.map(|heard| (heard.sequence, heard.payload.len()));
                    assert_eq!(place, Some((sequence, 0)));
                }
            }
        }
    }

    #[test]
    fn a_telephones_sound_is_opus_at_the_houses_time() {
        let mut hearing = hearing(Codec::Pcmu, false);
        let said = packet(7, &[0x90; 160]);
        let heard = hearing.understand(0, said.clone()).unwrap();
        assert_eq!((heard.sequence, heard.timestamp), (7, said.timestamp * 6));
        let samples = crate::media::Decoder::new().unwrap().decode(&heard.payload).unwrap();
        assert_eq!(samples, 480);
    }

    #[test]
    fn with_red_plain_packets_are_heard_once_too() {
        let mut hearing = hearing(Codec::Opus, true);
        assert!(hearing.understand(111, packet(1, b"one")).is_some());
        let red = [0x80 + 111, 0x0F, 0, 3, 111, b't', b'w', b'o', b'3'];
        let heard = hearing.understand(63, packet(3, &red)).unwrap();
        assert_eq!((heard.sequence, &heard.payload[..]), (2, &b"two"[..]));
        assert_eq!(hearing.next().map(|heard| heard.sequence), Some(3));
        assert_eq!(hearing.next(), None);
        assert_eq!(hearing.understand(111, packet(2, b"two")), None, "it was brought before");
        assert_eq!(hearing.understand(63, packet(4, &[0xFF])), None, "it makes no sense");
    }

    fn hearing(codec: Codec, has_red: bool) -> Hearing {
        Hearing::new(Format::offered(codec, has_red)).unwrap()
    }

    fn packet(sequence: u16, payload: &[u8]) -> OpusPacket {
        OpusPacket {
            participant: ParticipantId::new("ann"),
            sequence,
            timestamp: u32::from(sequence) * 960,
            marker: false,
            payload: Bytes::copy_from_slice(payload),
            at: crate::sys::clock::now(),
        }
    }
}
