//! Whose move it is in a call: listening, hearing, thinking or speaking; and what was heard of us.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::command::Deadline;
use super::event::{EdgeKind, PlaybackEvent, ResponseOutcome, SpeechEdge};
use super::limits::Limits;
use super::output::{ModelAction, Notification, Output, SpeakStatus};
use super::transcript::heard_part;
use super::{Outputs, since_ms};
use crate::ids::{ParticipantId, ResponseId, UtteranceId};
use crate::privacy::Pii;

/// Whose move it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Turn {
    /// Nobody's: silence.
    Listening,
    /// A participant's.
    Hearing(Hearing),
    /// The model's, and nothing of it is to be heard.
    Thinking {
        /// When it has failed to answer.
        until: Instant,
    },
    /// The agent's.
    Speaking {
        /// What is being heard.
        utterance: UtteranceId,
    },
}

/// How far a participant's turn has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hearing {
    /// Somebody speaks; the call's idle time is its only end.
    Speech,
    /// Nobody speaks by our ear; the model has not yet taken the turn as over.
    Pause {
        /// When the model has failed to take it.
        until: Instant,
    },
}

/// One conversation's turns. It lives inside a call, so nobody can speak outside of one.
#[derive(Debug, PartialEq)]
pub(super) struct Dialogue {
    turn: Turn,
    /// Who speaks, by our ear; the latest last.
    speakers: Vec<ParticipantId>,
    last_speaker: Option<ParticipantId>,
    /// Who is behind an utterance that the model has heard.
    said_by: BTreeMap<UtteranceId, ParticipantId>,
    /// The agent's utterances that are not over yet, in the order of speaking.
    voice: VecDeque<Spoken>,
    /// What is being heard of the agent, and since when.
    sounding: Option<(UtteranceId, Instant)>,
    /// Utterances that were cut off: what still comes of them is dropped.
    cut: VecDeque<UtteranceId>,
    /// The answer that is being given, or has been broken off and has not ended yet.
    response: Option<ResponseId>,
    /// Answers that were broken off: no tool of theirs runs.
    discarded: VecDeque<ResponseId>,
}

/// An utterance of the agent that is not over yet.
#[derive(Debug, PartialEq)]
struct Spoken {
    utterance: UtteranceId,
    text: Pii<String>,
}

impl Dialogue {
    pub(super) const fn new() -> Self {
        Self {
            turn: Turn::Listening,
            speakers: Vec::new(),
            last_speaker: None,
            said_by: BTreeMap::new(),
            voice: VecDeque::new(),
            sounding: None,
            cut: VecDeque::new(),
            response: None,
            discarded: VecDeque::new(),
        }
    }

    pub(super) const fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Our own ear: quicker than the model's, so it decides what is cut off.
    pub(super) fn on_speech(&mut self, edge: &SpeechEdge, time: Time<'_>, outputs: &mut Outputs) {
        self.speakers.retain(|speaker| *speaker != edge.participant);
        match edge.kind {
            EdgeKind::Started => {
                self.speakers.push(edge.participant.clone());
                self.last_speaker = Some(edge.participant.clone());
                self.barge_in(outputs);
                self.turn = Turn::Hearing(Hearing::Speech);
            }
            EdgeKind::Stopped if self.turn == Turn::Hearing(Hearing::Speech) => {
                self.rest(time);
            }
            EdgeKind::Stopped => {}
        }
    }

    /// The model's ear has heard a beginning.
    pub(super) fn on_heard(
        &mut self,
        utterance: UtteranceId,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        self.attribute(utterance);
        if matches!(self.turn, Turn::Speaking { .. }) {
            self.barge_in(outputs);
        }
        self.turn = self.hearing(time);
    }

    /// The model's ear has heard an end: it will answer.
    pub(super) fn on_turn_over(&mut self, utterance: UtteranceId, time: Time<'_>) {
        self.attribute(utterance);
        if !matches!(self.turn, Turn::Speaking { .. }) {
            self.turn = time.thinking();
        }
    }

    pub(super) fn on_response_started(&mut self, response: ResponseId, time: Time<'_>) {
        self.response = Some(response);
        match self.turn {
            Turn::Speaking { .. } | Turn::Hearing(Hearing::Speech) => {}
            Turn::Listening | Turn::Thinking { .. } | Turn::Hearing(Hearing::Pause { .. }) => {
                self.turn = time.thinking();
            }
        }
    }

    pub(super) fn on_response_done(
        &mut self,
        response: &ResponseId,
        outcome: &ResponseOutcome,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        let was_broken_off = self.discarded.contains(response);
        if self.response.as_ref() == Some(response) {
            self.response = None;
        }
        if let ResponseOutcome::Failed(code) = outcome {
            let message = format!("the model failed to answer: {code}");
            outputs.push_back(error("MODEL_RESPONSE_FAILED", message));
        }
        // Whoever thinks after an answer was broken off thinks about another one.
        if was_broken_off || !matches!(self.turn, Turn::Thinking { .. }) {
            return;
        }
        if *outcome != ResponseOutcome::Completed {
            self.voice.clear();
        }
        self.rest(time);
    }

    /// The words of what is, or will be, heard of the agent.
    pub(super) fn on_words(
        &mut self,
        utterance: UtteranceId,
        text: Pii<String>,
        is_final: bool,
        outputs: &mut Outputs,
    ) {
        if self.cut.contains(&utterance) || self.is_broken_off() {
            return;
        }
        let known = self.voice.iter_mut().find(|spoken| spoken.utterance == utterance);
        match known {
            Some(spoken) => spoken.text = text.clone(),
            None => {
                self.voice.push_back(Spoken { utterance: utterance.clone(), text: text.clone() });
            }
        }
        outputs.push_back(Output::Notify(Notification::Speak { utterance, text, is_final }));
    }

    /// What was heard of the agent. Returns the words that were, when an utterance is over.
    pub(super) fn on_playback(
        &mut self,
        event: PlaybackEvent,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) -> Option<Pii<String>> {
        match event {
            PlaybackEvent::Silent => None,
            PlaybackEvent::Started { utterance } => {
                self.sounding = Some((utterance.clone(), time.now));
                self.turn = Turn::Speaking { utterance: utterance.clone() };
                let nothing = Pii::new(String::new());
                outputs.push_back(speak_status(utterance, SpeakStatus::Started, 0, nothing));
                None
            }
            PlaybackEvent::Finished { utterance, heard_ms } => {
                let text = self.take_words(&utterance);
                let status = SpeakStatus::Finished;
                outputs.push_back(speak_status(utterance, status, heard_ms, text.clone()));
                self.rest(time);
                Some(text)
            }
            PlaybackEvent::Flushed { utterance, heard_ms, received_ms } => {
                let text = self.take_words(&utterance);
                let heard = heard_part(text.expose(), heard_ms, received_ms);
                let heard = Pii::new(heard.to_owned());
                remember(&mut self.cut, utterance.clone());
                let truncate = ModelAction::Truncate { utterance: utterance.clone(), heard_ms };
                outputs.push_back(Output::Model(truncate));
                let status = SpeakStatus::Interrupted;
                outputs.push_back(speak_status(utterance, status, heard_ms, heard.clone()));
                self.rest(time);
                Some(heard)
            }
        }
    }

    /// Asks the model to speak.
    pub(super) fn respond(
        &mut self,
        instructions: Option<Pii<String>>,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        outputs.push_back(Output::Model(ModelAction::Respond { instructions }));
        if !matches!(self.turn, Turn::Speaking { .. } | Turn::Hearing(Hearing::Speech)) {
            self.turn = time.thinking();
        }
    }

    /// Falls silent and stops thinking, on somebody's word.
    pub(super) fn interrupt(&mut self, time: Time<'_>, outputs: &mut Outputs) {
        self.break_off(outputs);
        if matches!(self.turn, Turn::Thinking { .. }) {
            self.rest(time);
        }
    }

    /// Breaks off an answer that has begun and is not wanted.
    pub(super) fn refuse(&mut self, response: ResponseId, time: Time<'_>, outputs: &mut Outputs) {
        self.response = Some(response);
        self.interrupt(time, outputs);
    }

    /// Nothing more will be known of what is heard: it is over, with as much as time tells.
    pub(super) fn fall_silent(&mut self, now: Instant, outputs: &mut Outputs) {
        let Some((utterance, since)) = self.sounding.take() else { return };
        let (status, nothing) = (SpeakStatus::Interrupted, Pii::new(String::new()));
        outputs.push_back(speak_status(utterance, status, since_ms(since, now), nothing));
    }

    /// A turn that nobody has taken in time is over.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.turn = Turn::Listening;
            self.voice.clear();
        }
    }

    pub(super) const fn poll_timeout(&self) -> Option<Deadline> {
        match self.turn {
            Turn::Listening | Turn::Speaking { .. } | Turn::Hearing(Hearing::Speech) => None,
            Turn::Hearing(Hearing::Pause { until }) => Some((until, "end of turn")),
            Turn::Thinking { until } => Some((until, "answer")),
        }
    }

    /// Who said what the model calls by this name.
    pub(super) fn speaker_of(&self, utterance: &UtteranceId) -> Option<&ParticipantId> {
        self.said_by.get(utterance).or(self.last_speaker.as_ref())
    }

    pub(super) fn on_participant_left(&mut self, id: &ParticipantId, time: Time<'_>) {
        self.speakers.retain(|speaker| speaker != id);
        if self.turn == Turn::Hearing(Hearing::Speech) {
            self.rest(time);
        }
    }

    /// Somebody speaks over the agent, or while it thinks.
    fn barge_in(&mut self, outputs: &mut Outputs) {
        match self.turn {
            Turn::Speaking { .. } | Turn::Thinking { .. } => self.break_off(outputs),
            Turn::Listening | Turn::Hearing(_) => {}
        }
    }

    /// Takes back what was not heard yet, and breaks off the answer it belongs to.
    fn break_off(&mut self, outputs: &mut Outputs) {
        outputs.push_back(Output::FlushPlayback);
        outputs.push_back(Output::Model(ModelAction::Cancel));
        let sounding = self.sounding.as_ref().map(|(utterance, _)| utterance);
        self.voice.retain(|spoken| Some(&spoken.utterance) == sounding);
        if let Some(response) = &self.response
            && !self.is_broken_off()
        {
            remember(&mut self.discarded, response.clone());
        }
    }

    fn is_broken_off(&self) -> bool {
        self.response.as_ref().is_some_and(|response| self.discarded.contains(response))
    }

    /// Whether a tool that this answer asks for may run: not if the answer was broken off.
    pub(super) fn may_call(&self, response: &ResponseId) -> bool {
        !self.discarded.contains(response)
    }

    /// Whether the agent speaks, or is about to.
    pub(super) const fn is_answering(&self) -> bool {
        matches!(self.turn, Turn::Speaking { .. } | Turn::Thinking { .. })
    }

    /// The turn after something has ended: whoever speaks has it, or the model if it has more.
    fn rest(&mut self, time: Time<'_>) {
        self.turn = if matches!(self.turn, Turn::Hearing(_)) || !self.speakers.is_empty() {
            self.hearing(time)
        } else if (self.response.is_some() && !self.is_broken_off()) || !self.voice.is_empty() {
            time.thinking()
        } else {
            Turn::Listening
        };
    }

    fn hearing(&self, time: Time<'_>) -> Turn {
        if self.speakers.is_empty() {
            Turn::Hearing(Hearing::Pause { until: time.now + time.limits.turn_end })
        } else {
            Turn::Hearing(Hearing::Speech)
        }
    }

    fn attribute(&mut self, utterance: UtteranceId) {
        let Some(speaker) = self.speakers.last().or(self.last_speaker.as_ref()) else { return };
        if self.said_by.len() == REMEMBERED_MAX {
            self.said_by.pop_first();
        }
        self.said_by.entry(utterance).or_insert_with(|| speaker.clone());
    }

    /// The words of an utterance that is over.
    fn take_words(&mut self, utterance: &UtteranceId) -> Pii<String> {
        self.sounding.take_if(|(sounding, _)| sounding == utterance);
        let at = self.voice.iter().position(|spoken| spoken.utterance == *utterance);
        at.and_then(|at| self.voice.remove(at))
            .map_or_else(|| Pii::new(String::new()), |spoken| spoken.text)
    }
}

fn remember<T>(past: &mut VecDeque<T>, one: T) {
    if past.len() == REMEMBERED_MAX {
        past.pop_front();
    }
    past.push_back(one);
}

/// The moment something happens, and how long things may take from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time<'a> {
    pub(super) now: Instant,
    pub(super) limits: &'a Limits,
}

impl Time<'_> {
    fn thinking(self) -> Turn {
        Turn::Thinking { until: self.now + self.limits.answer }
    }
}

pub(super) fn error(code: &'static str, message: impl Into<String>) -> Output {
    Output::Notify(Notification::Error { code, message: message.into() })
}

fn speak_status(
    utterance: UtteranceId,
    status: SpeakStatus,
    heard_ms: u64,
    text: Pii<String>,
) -> Output {
    Output::Notify(Notification::SpeakStatus { utterance, status, heard_ms, text })
}

/// How many past utterances are remembered: their late news is few and comes soon.
const REMEMBERED_MAX: usize = 64;
