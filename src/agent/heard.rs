//! What was heard of others: who spoke when, by our ear, and what the model calls it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::event::{EdgeKind, SpeechEdge};
use super::voice::remember;
use crate::ids::{ParticipantId, UtteranceId};

/// The latest speech, and the latest utterances of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Heard {
    /// By our ear, in the order of beginning.
    speeches: VecDeque<Speech>,
    /// By the model's.
    utterances: VecDeque<Utterance>,
    /// Turns that we have taken as over, and that the model has not named yet.
    turns: VecDeque<Stretch>,
}

#[derive(Debug, PartialEq)]
struct Speech {
    who: ParticipantId,
    /// As whose its beginning and its end are told.
    told: ParticipantId,
    when: Stretch,
}

/// What the model knows by one name.
#[derive(Debug, PartialEq)]
struct Utterance {
    id: UtteranceId,
    when: Stretch,
    is_final: bool,
}

/// From one moment to another, or going on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    from: Instant,
    to: Option<Instant>,
}

/// Who said something, and since when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Saying {
    pub(super) who: ParticipantId,
    pub(super) since: Instant,
}

impl Heard {
    /// Our own ear.
    pub(super) fn on_speech(&mut self, edge: &SpeechEdge) {
        match edge.kind {
            EdgeKind::Started => {
                self.on_silence(&edge.participant, edge.at);
                let when = Stretch { from: edge.at, to: None };
                let (who, told) = (edge.participant.clone(), edge.participant.clone());
                remember(&mut self.speeches, Speech { who, told, when });
            }
            EdgeKind::Stopped => self.on_silence(&edge.participant, edge.at),
            EdgeKind::Sustained => {}
        }
    }

    /// The latest speech that was told as that of `told` is that of `who`.
    pub(super) fn rename_last(&mut self, told: &ParticipantId, who: &ParticipantId) {
        let last = self.speeches.iter_mut().rev().find(|speech| speech.told == *told);
        if let Some(last) = last {
            last.who = who.clone();
        }
    }

    /// Somebody speaks no more.
    pub(super) fn on_silence(&mut self, who: &ParticipantId, at: Instant) {
        for speech in self.speeches.iter_mut().filter(|speech| speech.told == *who) {
            speech.when.to.get_or_insert(at);
        }
    }

    /// The model has heard a beginning.
    pub(super) fn on_started(&mut self, id: &UtteranceId, now: Instant) {
        if self.find(id).is_none() {
            let when = Stretch { from: now, to: None };
            self.add(id, when);
        }
    }

    /// The model has heard an end.
    pub(super) fn on_stopped(&mut self, id: &UtteranceId, now: Instant) {
        let turn = self.find_or_name(id, now);
        turn.when.to.get_or_insert(now);
    }

    /// We have taken a turn as over; the model will name it.
    pub(super) fn on_turn_taken(&mut self, now: Instant) {
        let when = Stretch { from: self.unnamed_since(now), to: Some(now) };
        remember(&mut self.turns, when);
    }

    /// Words of an utterance. Whether they are news: not those before its final ones, nor those
    /// after.
    pub(super) fn on_words(&mut self, id: &UtteranceId, is_final: bool, now: Instant) -> bool {
        let utterance = self.find_or_name(id, now);
        let is_news = !utterance.is_final;
        utterance.is_final |= is_final;
        is_news
    }

    /// Who said it: whoever spoke most of the time; and when they began.
    pub(super) fn saying(&self, id: &UtteranceId, now: Instant) -> Option<Saying> {
        let named = self.utterances.iter().find(|utterance| utterance.id == *id);
        let when = named.map_or(Stretch { from: now, to: Some(now) }, |named| named.when);
        let share = |who: &ParticipantId| -> Duration {
            self.during(when, now).filter(|speech| speech.who == who).map(|it| it.share).sum()
        };
        let most = self.during(when, now).max_by_key(|speech| share(speech.who));
        let who = most.map(|speech| speech.who).or_else(|| Some(&self.speeches.back()?.who))?;
        let first = self.during(when, now).find(|speech| speech.who == who);
        Some(Saying { who: who.clone(), since: first.map_or(when.from, |speech| speech.since) })
    }

    /// The speech that falls into a stretch of time.
    fn during(&self, when: Stretch, now: Instant) -> impl Iterator<Item = Share<'_>> {
        let from = when.from.checked_sub(SLACK).unwrap_or(when.from);
        let to = when.to.unwrap_or(now);
        self.speeches.iter().filter_map(move |Speech { who, when, .. }| {
            let end = when.to.unwrap_or(now).min(to);
            let share = end.checked_duration_since(when.from.max(from))?;
            Some(Share { who, since: when.from, share })
        })
    }

    fn find(&mut self, id: &UtteranceId) -> Option<&mut Utterance> {
        self.utterances.iter_mut().find(|utterance| utterance.id == *id)
    }

    /// The utterance; if it has no beginning, the turn that was taken first, or the latest speech.
    fn find_or_name(&mut self, id: &UtteranceId, now: Instant) -> &mut Utterance {
        let known = self.utterances.iter().position(|utterance| utterance.id == *id);
        let at = known.unwrap_or_else(|| {
            let turn = self.turns.pop_front();
            let when =
                turn.unwrap_or_else(|| Stretch { from: self.unnamed_since(now), to: Some(now) });
            self.add(id, when);
            self.utterances.len() - 1
        });
        &mut self.utterances[at]
    }

    fn add(&mut self, id: &UtteranceId, when: Stretch) {
        remember(&mut self.utterances, Utterance { id: id.clone(), when, is_final: false });
    }

    /// The beginning of the first speech after all that has a name, or has waited for one.
    fn unnamed_since(&self, now: Instant) -> Instant {
        let named = self.utterances.iter().map(|utterance| utterance.when);
        let ends = named.chain(self.turns.iter().copied()).filter_map(|when| when.to);
        let named_until = ends.max();
        let is_new = |speech: &&Speech| named_until.is_none_or(|until| speech.when.from > until);
        self.speeches.iter().find(is_new).map_or(now, |speech| speech.when.from)
    }
}

/// How much of a speech falls into a stretch of time.
struct Share<'a> {
    who: &'a ParticipantId,
    since: Instant,
    share: Duration,
}

/// The model tells of a beginning after it has heard some of it.
const SLACK: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn an_utterance_is_of_whoever_spoke_most_during_it() {
        let (mut heard, start) = (Heard::default(), clock::now());
        let at = |ms| start + Duration::from_millis(ms);
        heard.speak("ann", at(0), at(2_000));
        heard.speak("bob", at(1_900), at(2_100));
        heard.on_started(&id("u1"), at(100));
        heard.on_stopped(&id("u1"), at(2_300));
        heard.speak("bob", at(2_400), at(4_000));
        let saying = heard.saying(&id("u1"), at(5_000)).expect("somebody spoke");
        assert_eq!((saying.who, saying.since), (ParticipantId::new("ann"), at(0)));
    }

    #[test]
    fn turns_that_we_have_taken_are_named_in_their_order() {
        let (mut heard, start) = (Heard::default(), clock::now());
        let at = |ms| start + Duration::from_millis(ms);
        heard.speak("ann", at(0), at(900));
        heard.on_turn_taken(at(1_400));
        heard.speak("bob", at(2_000), at(2_900));
        heard.on_turn_taken(at(3_400));
        assert!(heard.on_words(&id("u1"), true, at(3_500)));
        assert!(heard.on_words(&id("u2"), true, at(3_600)));
        let who = |name| heard.saying(&id(name), at(4_000)).expect("somebody spoke");
        assert_eq!(who("u1"), Saying { who: ParticipantId::new("ann"), since: at(0) });
        assert_eq!(who("u2"), Saying { who: ParticipantId::new("bob"), since: at(2_000) });
    }

    #[test]
    fn speech_that_gets_a_name_later_is_of_that_name_and_ends_as_it_began() {
        let (mut heard, start) = (Heard::default(), clock::now());
        let at = |ms| start + Duration::from_millis(ms);
        let room = ParticipantId::new("room");
        let edge = |kind, at| SpeechEdge { participant: room.clone(), kind, at };
        heard.on_speech(&edge(EdgeKind::Started, at(0)));
        heard.rename_last(&room, &ParticipantId::new("ann"));
        heard.on_speech(&edge(EdgeKind::Stopped, at(900)));
        heard.on_started(&id("u1"), at(100));
        heard.on_stopped(&id("u1"), at(1_000));
        heard.speak("bob", at(2_000), at(2_900));
        heard.on_started(&id("u2"), at(2_100));
        heard.on_stopped(&id("u2"), at(3_000));
        let who = |name| heard.saying(&id(name), at(4_000)).expect("somebody spoke").who;
        assert_eq!((who("u1"), who("u2")), (ParticipantId::new("ann"), ParticipantId::new("bob")));
    }

    #[test]
    fn final_words_are_the_last() {
        let (mut heard, now) = (Heard::default(), clock::now());
        assert!(heard.on_words(&id("u1"), false, now));
        assert!(heard.on_words(&id("u1"), true, now));
        assert!(!heard.on_words(&id("u1"), true, now), "said twice");
        assert!(!heard.on_words(&id("u1"), false, now), "a draft that comes late");
    }

    impl Heard {
        fn speak(&mut self, who: &str, from: Instant, to: Instant) {
            for (kind, at) in [(EdgeKind::Started, from), (EdgeKind::Stopped, to)] {
                self.on_speech(&SpeechEdge { participant: ParticipantId::new(who), kind, at });
            }
        }
    }

    fn id(name: &str) -> UtteranceId {
        UtteranceId::new(name)
    }
}
