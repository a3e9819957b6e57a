//! Follows the turns of a call for its record: when each began, was answered, and was heard.

use super::event::EdgeKind;
use super::record::TurnRecord;
use crate::ids::ParticipantId;

/// The turn that is being heard, and the one that is being answered. All times are in
/// milliseconds of the call.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Recorder {
    /// Who makes a sound that may be speech; the latest last.
    sounds: Vec<Sound>,
    /// The latest of them that is over.
    past: Option<Sound>,
    hearing: Option<TurnRecord>,
    answering: Option<TurnRecord>,
}

/// A sound of somebody: a turn if it is meant, nothing if not.
#[derive(Clone, Debug, PartialEq)]
struct Sound {
    who: ParticipantId,
    start_ms: u64,
    end_ms: Option<u64>,
}

impl Recorder {
    pub(super) fn on_speech(&mut self, who: &ParticipantId, kind: EdgeKind, at_ms: u64) {
        match kind {
            EdgeKind::Started => {
                self.sounds.retain(|sound| sound.who != *who);
                self.sounds.push(Sound { who: who.clone(), start_ms: at_ms, end_ms: None });
            }
            EdgeKind::Sustained => {
                let sound = self.sounds.iter().find(|sound| sound.who == *who).cloned();
                self.hear(sound);
            }
            EdgeKind::Stopped => self.on_silence(who, at_ms),
        }
    }

    /// Somebody speaks no more.
    pub(super) fn on_silence(&mut self, who: &ParticipantId, at_ms: u64) {
        let Some(at) = self.sounds.iter().position(|sound| sound.who == *who) else { return };
        self.past = Some(Sound { end_ms: Some(at_ms), ..self.sounds.remove(at) });
        if let Some(turn) = &mut self.hearing {
            turn.speech_end_ms = Some(at_ms);
        }
    }

    /// The turn is taken as over, by us or by the model: whatever was heard was meant.
    pub(super) fn on_turn_over(&mut self, is_ours: bool, at_ms: u64) {
        let sound = self.sounds.last().or(self.past.as_ref()).cloned();
        if self.hearing.is_none() && self.answering.is_none() && sound.is_some() {
            self.hear(sound);
        }
        if let Some(turn) = &mut self.hearing {
            turn.turn_end_ms = Some(at_ms);
            turn.turn_end_is_ours = is_ours;
        }
    }

    /// The final words are known; they may come after the answer has begun to sound.
    pub(super) fn on_transcript(&mut self, at_ms: u64) {
        let answering = self.answering.as_mut().filter(|turn| turn.transcript_ms.is_none());
        if let Some(turn) = answering.or(self.hearing.as_mut()) {
            turn.transcript_ms.get_or_insert(at_ms);
        }
    }

    /// The model begins to answer.
    pub(super) fn on_answer(&mut self, at_ms: u64) {
        if let Some(turn) = &mut self.hearing {
            turn.answer_ms = Some(at_ms);
        }
    }

    /// The first sound of something has left.
    pub(super) fn on_sound(&mut self, at_ms: u64) {
        if self.answering.is_none() {
            let mut turn = self.hearing.take().unwrap_or_default();
            turn.first_audio_ms = Some(at_ms);
            self.answering = Some(turn);
        }
        self.past = None;
    }

    /// Something was heard to its end, or was cut off.
    pub(super) fn on_heard(&mut self, heard_ms: u64, was_cut: bool, at_ms: u64) {
        if let Some(turn) = &mut self.answering {
            turn.heard_ms += heard_ms;
            turn.last_audio_ms = Some(at_ms);
            turn.interrupted |= was_cut;
        }
    }

    /// The answered turn, once nothing more of the answer is to come.
    pub(super) fn take_answered(&mut self) -> Option<TurnRecord> {
        let answered = self.answering.take();
        if answered.is_some() {
            self.past = None;
        }
        answered
    }

    /// What is there when the call ends.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = TurnRecord> + use<> {
        self.answering.take().into_iter().chain(self.hearing.take())
    }

    /// A sound is meant: it begins a turn, or goes on with one.
    fn hear(&mut self, sound: Option<Sound>) {
        let turn = self.hearing.get_or_insert_default();
        let Some(Sound { who, start_ms, end_ms }) = sound else { return };
        turn.participant.get_or_insert(who);
        turn.speech_start_ms.get_or_insert(start_ms);
        turn.speech_end_ms = end_ms.or(turn.speech_end_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_followed_from_speech_to_sound() {
        let mut recorder = Recorder::default();
        let ann = ParticipantId::new("p_1");
        recorder.on_speech(&ann, EdgeKind::Started, 100);
        recorder.on_speech(&ann, EdgeKind::Sustained, 100);
        recorder.on_speech(&ann, EdgeKind::Stopped, 900);
        recorder.on_turn_over(false, 1400);
        recorder.on_answer(1450);
        recorder.on_sound(1600);
        recorder.on_transcript(1650);
        recorder.on_heard(800, false, 2400);
        let turn = recorder.take_answered().unwrap();
        assert_eq!(turn.latency_ms(), Some(700));
        assert_eq!((turn.transcript_ms, turn.heard_ms), (Some(1650), 800));
        assert_eq!(recorder.take_all().count(), 0);
    }

    #[test]
    fn who_cuts_in_begins_the_next_turn() {
        let mut recorder = Recorder::default();
        recorder.on_sound(100);
        recorder.on_speech(&ParticipantId::new("p_1"), EdgeKind::Started, 300);
        recorder.on_speech(&ParticipantId::new("p_1"), EdgeKind::Sustained, 300);
        recorder.on_heard(200, true, 310);
        let cut = recorder.take_answered().unwrap();
        assert!(cut.interrupted && cut.participant.is_none());
        let next: Vec<_> = recorder.take_all().collect();
        assert_eq!(next[0].speech_start_ms, Some(300));
    }

    #[test]
    fn a_cough_is_no_turn() {
        let mut recorder = Recorder::default();
        let (ann, bob) = (ParticipantId::new("p_1"), ParticipantId::new("p_2"));
        recorder.on_speech(&ann, EdgeKind::Started, 100);
        recorder.on_speech(&ann, EdgeKind::Stopped, 150);
        assert_eq!(recorder.take_all().count(), 0);
        recorder.on_speech(&bob, EdgeKind::Started, 300);
        recorder.on_speech(&bob, EdgeKind::Sustained, 300);
        let next: Vec<_> = recorder.take_all().collect();
        assert_eq!(
            (next[0].participant.as_ref(), next[0].speech_start_ms),
            (Some(&bob), Some(300))
        );
    }

    #[test]
    fn what_was_too_short_for_our_ear_is_a_turn_if_the_model_takes_it() {
        let mut recorder = Recorder::default();
        recorder.on_speech(&ParticipantId::new("p_1"), EdgeKind::Started, 100);
        recorder.on_speech(&ParticipantId::new("p_1"), EdgeKind::Stopped, 220);
        recorder.on_turn_over(true, 600);
        let turn = recorder.take_all().next().unwrap();
        assert_eq!((turn.speech_start_ms, turn.speech_end_ms), (Some(100), Some(220)));
        assert_eq!((turn.turn_end_ms, turn.turn_end_is_ours), (Some(600), true));
    }
}
