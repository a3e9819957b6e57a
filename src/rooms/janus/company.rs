//! Who else is in an AudioBridge room, as the agent is told.

use super::wire::{Bridge, Id, Person};
use crate::agent::{Participant, RoomEvent};
use crate::ids::ParticipantId;

/// Those who can be heard, and hear; and who of them speaks, by the room's word.
///
/// Somebody who has come in without any sound yet is nobody: a greeting would be lost on them.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Ourselves, under every name that we have had; the latest last.
    selves: Vec<Id>,
    present: Vec<Participant>,
    talking: Vec<ParticipantId>,
}

impl Company {
    /// Those who are there.
    pub(super) fn present(&self) -> Vec<Participant> {
        self.present.clone()
    }

    /// Whether this is us, as we are known in the room.
    pub(super) fn is_us(&self, id: &Id) -> bool {
        self.selves.last() == Some(id)
    }

    /// The room has let us in under this name.
    pub(super) fn enter(&mut self, me: Id, people: &[Person]) -> Vec<RoomEvent> {
        if self.selves.len() == SELVES_MAX {
            self.selves.remove(0);
        }
        self.selves.push(me);
        self.replace(people)
    }

    /// What has changed by what the room says.
    pub(super) fn hear(&mut self, news: &Bridge) -> Vec<RoomEvent> {
        match news {
            Bridge::All(people) => self.replace(people),
            Bridge::Some(people) => self.update(people),
            Bridge::Gone(id) => self.lose(id, "left"),
            Bridge::Kicked(id) => self.lose(id, "was sent out"),
            Bridge::Talking { id, is_talking } => self.speaks(id, *is_talking),
            Bridge::In { .. } | Bridge::Destroyed | Bridge::Refused(_) | Bridge::Done => Vec::new(),
        }
    }

    /// All who are there: whoever is not among them has gone.
    fn replace(&mut self, people: &[Person]) -> Vec<RoomEvent> {
        let is_there = |one: &Participant| people.iter().any(|person| named(&person.id) == one.id);
        let gone: Vec<_> =
            self.present.iter().filter(|one| !is_there(one)).map(|one| one.id.clone()).collect();
        let mut events: Vec<_> = gone.into_iter().flat_map(|id| self.remove(&id, "left")).collect();
        events.extend(self.update(people));
        events
    }

    fn update(&mut self, people: &[Person]) -> Vec<RoomEvent> {
        let mut events = Vec::new();
        for person in people {
            let id = named(&person.id);
            if self.selves.contains(&person.id) || !person.setup {
                continue;
            }
            if !self.present.iter().any(|one| one.id == id) {
                if self.present.len() == PRESENT_MAX {
                    continue;
                }
                let one = Participant { id: id.clone(), name: person.display.clone() };
                self.present.push(one.clone());
                events.push(RoomEvent::ParticipantJoined(one));
            }
            if person.muted {
                events.extend(self.speaks(&person.id, false));
            } else if person.talking {
                events.extend(self.speaks(&person.id, true));
            }
        }
        events
    }

    fn lose(&mut self, id: &Id, reason: &str) -> Vec<RoomEvent> {
        self.remove(&named(id), reason)
    }

    fn remove(&mut self, id: &ParticipantId, reason: &str) -> Vec<RoomEvent> {
        self.talking.retain(|talker| talker != id);
        let Some(at) = self.present.iter().position(|one| one.id == *id) else {
            return Vec::new();
        };
        let id = self.present.remove(at).id;
        vec![RoomEvent::ParticipantLeft { id, reason: reason.to_owned() }]
    }

    fn speaks(&mut self, id: &Id, is_speaking: bool) -> Vec<RoomEvent> {
        let id = named(id);
        let is_known = self.present.iter().any(|one| one.id == id);
        if !is_known || self.talking.contains(&id) == is_speaking {
            return Vec::new();
        }
        if is_speaking {
            self.talking.push(id.clone());
        } else {
            self.talking.retain(|talker| *talker != id);
        }
        vec![RoomEvent::Speaking { id, is_speaking }]
    }
}

fn named(id: &Id) -> ParticipantId {
    ParticipantId::new(id.to_string())
}

/// How many of our own names are remembered: each way back into a room has one, and only the latest
/// can still be in it.
const SELVES_MAX: usize = 8;

/// How many others are known; more of them do not fit into one room of talk.
const PRESENT_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_without_sound_is_not_there_yet() {
        let mut company = entered(&[person(2, "Ann")]);
        let early = Person { setup: false, ..person(3, "Ben") };
        assert_eq!(company.hear(&Bridge::Some(vec![early])), []);
        assert_eq!(company.hear(&Bridge::Some(vec![person(3, "Ben")])), [joined("3", "Ben")]);
        assert_eq!(company.hear(&Bridge::Some(vec![person(3, "Ben")])), [], "told once");
        assert_eq!(company.hear(&Bridge::Gone(Id::Number(4))), [], "nobody knew them");
    }

    #[test]
    fn who_comes_back_in_is_told_only_what_has_changed() {
        let mut company = entered(&[person(2, "Ann"), person(3, "Ben")]);
        let people = [person(2, "Ann"), person(1, "Ada"), person(4, "Cid")];
        let events = company.enter(Id::Number(9), &people);
        assert_eq!(events, [left("3"), joined("4", "Cid")]);
        assert!(company.is_us(&Id::Number(9)) && !company.is_us(&Id::Number(1)));
    }

    #[test]
    fn who_speaks_is_told_at_each_change_and_ends_with_a_mute() {
        let mut company = entered(&[person(2, "Ann")]);
        let talking = |id, is_talking| Bridge::Talking { id: Id::Number(id), is_talking };
        assert_eq!(company.hear(&talking(2, true)), [speaking("2", true)]);
        assert_eq!(company.hear(&talking(2, true)), []);
        let muted = Person { muted: true, ..person(2, "Ann") };
        assert_eq!(company.hear(&Bridge::Some(vec![muted])), [speaking("2", false)]);
        assert_eq!(company.hear(&talking(1, true)), [], "that is us");
    }

    #[test]
    fn a_complete_list_tells_who_has_gone() {
        let mut company = entered(&[person(2, "Ann"), person(3, "Ben")]);
        let all = Bridge::All(vec![person(1, "Ada"), person(3, "Ben")]);
        assert_eq!(company.hear(&all), [left("2")]);
        assert_eq!(company.present().len(), 1);
    }

    fn entered(people: &[Person]) -> Company {
        let mut company = Company::default();
        company.enter(Id::Number(1), people);
        company
    }

    fn person(id: u64, name: &str) -> Person {
        let (id, display) = (Id::Number(id), name.into());
        Person { id, display, setup: true, muted: false, talking: false }
    }

    fn joined(id: &str, name: &str) -> RoomEvent {
        let id = ParticipantId::new(id);
        RoomEvent::ParticipantJoined(Participant { id, name: name.into() })
    }

    fn left(id: &str) -> RoomEvent {
        RoomEvent::ParticipantLeft { id: ParticipantId::new(id), reason: "left".into() }
    }

    fn speaking(id: &str, is_speaking: bool) -> RoomEvent {
        RoomEvent::Speaking { id: ParticipantId::new(id), is_speaking }
    }
}
