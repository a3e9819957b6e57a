//! Who speaks in a room that mixes everybody into one sound.

use super::event::{EdgeKind, Participant, SpeechEdge};
use crate::ids::ParticipantId;

/// Gives the speech in a mix to somebody.
///
/// A sound of nobody in the room is a mix of all. Its speech is that of the only participant there
/// is; of several, it is that of whoever has begun to speak last by the room's word. Where the room
/// has not said anything, it keeps the name of the mix.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Mixed {
    /// Who speaks by the room's word; the latest last.
    speaking: Vec<ParticipantId>,
    /// Whose the speech was said to be that goes on in a mix.
    running: Option<Running>,
}

#[derive(Debug, PartialEq)]
struct Running {
    mix: ParticipantId,
    who: ParticipantId,
}

impl Mixed {
    /// The room's word. Whose speech is to be called theirs instead, for the room was late.
    pub(super) fn on_speaking(
        &mut self,
        id: &ParticipantId,
        is_speaking: bool,
    ) -> Option<ParticipantId> {
        self.speaking.retain(|speaker| speaker != id);
        if !is_speaking {
            return None;
        }
        self.speaking.push(id.clone());
        let Running { mix, who } = self.running.as_ref()?;
        (mix == who).then(|| mix.clone())
    }

    /// Somebody is gone, and what they were saying is over.
    pub(super) fn on_left(&mut self, id: &ParticipantId) {
        self.speaking.retain(|speaker| speaker != id);
        self.running.take_if(|running| running.who == *id);
    }

    /// The edge as that of somebody, from its beginning to its end. `None` if it ends what has
    /// ended already.
    pub(super) fn attribute(
        &mut self,
        edge: SpeechEdge,
        present: &[Participant],
    ) -> Option<SpeechEdge> {
        if present.iter().any(|one| one.id == edge.participant) {
            return Some(edge);
        }
        let mix = edge.participant.clone();
        let participant = match edge.kind {
            EdgeKind::Started => {
                let who = self.speaker(present).unwrap_or(&mix).clone();
                self.running = Some(Running { mix, who: who.clone() });
                who
            }
            EdgeKind::Sustained => self.running.as_ref()?.who.clone(),
            EdgeKind::Stopped => self.running.take()?.who,
        };
        Some(SpeechEdge { participant, ..edge })
    }

    fn speaker<'a>(&'a self, present: &'a [Participant]) -> Option<&'a ParticipantId> {
        match present {
            [only] => Some(&only.id),
            _ => self.speaking.last(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn one_participant_is_whoever_speaks_in_the_mix() {
        let mut mixed = Mixed::default();
        let kinds = [EdgeKind::Started, EdgeKind::Sustained, EdgeKind::Stopped];
        let heard = kinds.map(|kind| mixed.hear("room", kind, &["ann"]));
        assert_eq!(heard, ["ann", "ann", "ann"].map(|name| Some(id(name))));
    }

    #[test]
    fn of_several_the_room_says_who_speaks() {
        let mut mixed = Mixed::default();
        mixed.on_speaking(&id("ann"), true);
        mixed.on_speaking(&id("ben"), true);
        assert_eq!(mixed.hear("room", EdgeKind::Started, BOTH), Some(id("ben")));
        mixed.on_speaking(&id("ben"), false);
        assert_eq!(mixed.hear("room", EdgeKind::Stopped, BOTH), Some(id("ben")), "as it began");
        assert_eq!(mixed.hear("room", EdgeKind::Started, BOTH), Some(id("ann")));
    }

    #[test]
    fn a_room_that_is_late_names_what_had_no_name() {
        let mut mixed = Mixed::default();
        assert_eq!(mixed.on_speaking(&id("ann"), true), None);
        mixed.on_speaking(&id("ann"), false);
        assert_eq!(mixed.hear("room", EdgeKind::Started, BOTH), Some(id("room")));
        assert_eq!(mixed.on_speaking(&id("ben"), true), Some(id("room")));
        assert_eq!(mixed.hear("room", EdgeKind::Stopped, BOTH), Some(id("room")));
    }

    #[test]
    fn who_has_a_sound_of_their_own_keeps_it() {
        let mut mixed = Mixed::default();
        mixed.on_speaking(&id("ben"), true);
        assert_eq!(mixed.hear("ann", EdgeKind::Started, BOTH), Some(id("ann")));
    }

    #[test]
    fn speech_ends_once_with_whoever_goes() {
        let mut mixed = Mixed::default();
        assert_eq!(mixed.hear("room", EdgeKind::Started, &["ann"]), Some(id("ann")));
        mixed.on_left(&id("ann"));
        assert_eq!(mixed.hear("room", EdgeKind::Stopped, &[]), None);
    }

    const BOTH: &[&str] = &["ann", "ben"];

    impl Mixed {
        fn hear(&mut self, of: &str, kind: EdgeKind, there: &[&str]) -> Option<ParticipantId> {
            let one = |name: &&str| Participant { id: id(name), name: String::new() };
            let present: Vec<_> = there.iter().map(one).collect();
            let edge = SpeechEdge { participant: id(of), kind, at: clock::now() };
            self.attribute(edge, &present).map(|edge| edge.participant)
        }
    }

    fn id(name: &str) -> ParticipantId {
        ParticipantId::new(name)
    }
}
