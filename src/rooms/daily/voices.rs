//! Sound between frames, which the helper has, and packets, which agents have.

use std::collections::BTreeMap;

use super::wire::Heard;
use crate::ids::ParticipantId;
use crate::media::{CodecError, Decoder, Encoder, Frame24k, OpusPacket};
use crate::sys::clock;

/// The others in a room, and the codecs between them and the agent.
///
/// An agent hears and speaks packets wherever it is. Daily's client gives and takes frames, so each
/// is encoded once more, and ours decoded; that costs a few percent of a core for each who speaks.
#[derive(Debug)]
pub(super) struct Voices {
    others: BTreeMap<ParticipantId, Voice>,
    ours: Decoder,
}

#[derive(Debug)]
enum Voice {
    /// Nothing of theirs has come yet.
    Unheard,
    Heard(Box<Encoder>),
}

impl Voices {
    pub(super) fn new() -> Result<Self, CodecError> {
        Ok(Self { others: BTreeMap::new(), ours: Decoder::new()? })
    }

    /// Someone is in. `false` if they were, or are too many.
    pub(super) fn enter(&mut self, id: &ParticipantId) -> bool {
        let is_new = self.others.len() < OTHERS_CAPACITY && !self.others.contains_key(id);
        if is_new {
            self.others.insert(id.clone(), Voice::Unheard);
        }
        is_new
    }

    /// Someone is out. `false` if they were not in.
    pub(super) fn leave(&mut self, id: &ParticipantId) -> bool {
        self.others.remove(id).is_some()
    }

    /// Someone's frame as a packet; `None` if they are not in.
    pub(super) fn hear(&mut self, heard: &Heard) -> Result<Option<OpusPacket>, CodecError> {
        let participant = ParticipantId::new(heard.participant.as_str());
        let Some(voice) = self.others.get_mut(&participant) else { return Ok(None) };
        if let Voice::Unheard = voice {
            *voice = Voice::Heard(Box::new(Encoder::new()?));
        }
        let Voice::Heard(encoder) = voice else { return Ok(None) };
        let Heard { sequence, timestamp, frame, .. } = heard;
        Ok(Some(OpusPacket {
            participant,
            sequence: *sequence,
            timestamp: *timestamp,
            marker: false,
            payload: encoder.encode(frame),
            at: clock::now(),
        }))
    }

    /// The frames of a packet of ours.
    pub(super) fn say(&mut self, packet: &OpusPacket) -> impl Iterator<Item = Frame24k> {
        if !packet.payload.is_empty()
            && let Err(error) = self.ours.decode(&packet.payload)
        {
            tracing::debug!(%error, "a packet of the agent's is skipped");
        }
        std::iter::from_fn(|| self.ours.pull())
    }
}

/// Others who are known at once.
///
/// When full: who comes then is not told to the agent, and not heard.
const OTHERS_CAPACITY: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_in_is_not_heard() {
        let mut voices = Voices::new().unwrap();
        assert!(voices.hear(&heard("ann")).unwrap().is_none());
        assert!(voices.enter(&ParticipantId::new("ann")));
        assert!(!voices.enter(&ParticipantId::new("ann")), "once");
        let packet = voices.hear(&heard("ann")).unwrap().expect("a packet");
        assert_eq!(
            (packet.participant.as_str(), packet.sequence, packet.timestamp),
            ("ann", 7, 6720)
        );
        assert!(voices.leave(&ParticipantId::new("ann")));
        assert!(voices.hear(&heard("ann")).unwrap().is_none());
    }

    #[test]
    fn a_crowd_is_bounded() {
        let mut voices = Voices::new().unwrap();
        let entered = (0..1000).filter(|n| voices.enter(&ParticipantId::new(n.to_string())));
        assert_eq!(entered.count(), OTHERS_CAPACITY);
    }

    #[test]
    fn a_packet_of_ours_is_a_frame() {
        let mut voices = Voices::new().unwrap();
        voices.enter(&ParticipantId::new("ann"));
        let packet = voices.hear(&heard("ann")).unwrap().expect("a packet");
        assert_eq!(voices.say(&packet).count(), 1);
        let nothing = OpusPacket { payload: bytes::Bytes::new(), ..packet };
        assert_eq!(voices.say(&nothing).count(), 0);
    }

    fn heard(participant: &str) -> Heard {
        Heard {
            participant: participant.into(),
            sequence: 7,
            timestamp: 6720,
            frame: Frame24k::SILENCE,
        }
    }
}
