//! What the agent says: the words on their way to being heard, what sounds, and what was cut off.

use std::collections::VecDeque;
use std::time::Instant;

use super::output::{Notification, Output, SpeakStatus};
use super::transcript::{Cut, Pace};
use super::{Outputs, since_ms};
use crate::ids::UtteranceId;
use crate::privacy::Pii;

/// The agent's utterances that are not over yet, and the latest that were cut off.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Voice {
    /// In the order of speaking.
    spoken: VecDeque<Spoken>,
    /// What is being heard, and since when.
    sounding: Option<(UtteranceId, Instant)>,
    /// What still comes of them is dropped.
    cut: VecDeque<UtteranceId>,
    /// The latest that were heard to their end: words may come after sound.
    finished: VecDeque<UtteranceId>,
    pace: Pace,
}

/// An utterance of the agent that is not over yet.
#[derive(Debug, PartialEq)]
struct Spoken {
    utterance: UtteranceId,
    text: Pii<String>,
    /// Whether it is to be heard: not if its answer has failed before.
    is_awaited: bool,
}

/// What was heard of the agent, when an utterance is over.
#[derive(Debug, PartialEq)]
pub(super) struct Said {
    pub(super) text: Pii<String>,
    /// When its first sound left.
    pub(super) since: Instant,
}

impl Voice {
    /// The words of what is, or will be, heard.
    pub(super) fn on_words(
        &mut self,
        utterance: UtteranceId,
        text: Pii<String>,
        is_final: bool,
        outputs: &mut Outputs,
    ) {
        if self.cut.contains(&utterance) {
            return;
        }
        let is_over = self.finished.contains(&utterance);
        match self.spoken.iter_mut().find(|spoken| spoken.utterance == utterance) {
            Some(spoken) => spoken.text = text.clone(),
            None if is_over => {}
            None => remember(
                &mut self.spoken,
                Spoken { utterance: utterance.clone(), text: text.clone(), is_awaited: true },
            ),
        }
        outputs.push_back(Output::Notify(Notification::Speak { utterance, text, is_final }));
    }

    /// Its first sound has left.
    pub(super) fn on_started(
        &mut self,
        utterance: UtteranceId,
        now: Instant,
        outputs: &mut Outputs,
    ) {
        self.sounding = Some((utterance.clone(), now));
        let nothing = Pii::new(String::new());
        outputs.push_back(speak_status(utterance, SpeakStatus::Started, 0, nothing));
    }

    /// All of it was heard.
    pub(super) fn on_finished(
        &mut self,
        utterance: UtteranceId,
        heard_ms: u64,
        now: Instant,
        outputs: &mut Outputs,
    ) -> Said {
        let said = self.take(&utterance, now);
        self.pace.learn(said.text.expose(), heard_ms);
        remember(&mut self.finished, utterance.clone());
        let (status, text) = (SpeakStatus::Finished, said.text.clone());
        outputs.push_back(speak_status(utterance, status, heard_ms, text));
        said
    }

    /// It was cut off, or was dropped before it began.
    pub(super) fn on_cut(
        &mut self,
        utterance: UtteranceId,
        cut: Cut,
        now: Instant,
        outputs: &mut Outputs,
    ) -> Said {
        let said = self.take(&utterance, now);
        let heard = Pii::new(self.pace.heard_part(said.text.expose(), cut).to_owned());
        if cut.is_complete {
            self.pace.learn(said.text.expose(), cut.received_ms);
        }
        remember(&mut self.cut, utterance.clone());
        let status = SpeakStatus::Interrupted;
        outputs.push_back(speak_status(utterance, status, cut.heard_ms, heard.clone()));
        Said { text: heard, ..said }
    }

    /// Nothing more will be known of what is heard: it is over, with as much as time tells.
    pub(super) fn fall_silent(&mut self, now: Instant, outputs: &mut Outputs) {
        let Some((utterance, since)) = self.sounding.take() else { return };
        let (status, nothing) = (SpeakStatus::Interrupted, Pii::new(String::new()));
        outputs.push_back(speak_status(utterance, status, since_ms(since, now), nothing));
    }

    /// Nothing more is said than what sounds.
    pub(super) fn break_off(&mut self) {
        let sounding = self.sounding.as_ref().map(|(utterance, _)| utterance);
        self.spoken.retain(|spoken| Some(&spoken.utterance) == sounding);
    }

    /// What has not sounded is not waited for any more. Its words stay, in case it does.
    pub(super) fn give_up(&mut self) {
        for spoken in &mut self.spoken {
            spoken.is_awaited = false;
        }
    }

    /// Whether more is to be heard.
    pub(super) fn is_awaited(&self) -> bool {
        self.spoken.iter().any(|spoken| spoken.is_awaited)
    }

    /// Takes out an utterance that is over.
    fn take(&mut self, utterance: &UtteranceId, now: Instant) -> Said {
        let sounding = self.sounding.take_if(|(sounding, _)| sounding == utterance);
        let since = sounding.map_or(now, |(_, since)| since);
        let at = self.spoken.iter().position(|spoken| spoken.utterance == *utterance);
        let spoken = at.and_then(|at| self.spoken.remove(at));
        Said { text: spoken.map_or_else(|| Pii::new(String::new()), |spoken| spoken.text), since }
    }
}

/// Puts one after those that are remembered; the oldest goes.
pub(super) fn remember<T>(past: &mut VecDeque<T>, one: T) {
    if past.len() == REMEMBERED_MAX {
        past.pop_front();
    }
    past.push_back(one);
}

fn speak_status(
    utterance: UtteranceId,
    status: SpeakStatus,
    heard_ms: u64,
    text: Pii<String>,
) -> Output {
    Output::Notify(Notification::SpeakStatus { utterance, status, heard_ms, text })
}

/// How much of the past is remembered: its late news is little and comes soon.
const REMEMBERED_MAX: usize = 64;
