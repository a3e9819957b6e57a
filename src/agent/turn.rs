//! Whose move it is in a call: listening, hearing, thinking or speaking.

use std::time::{Duration, Instant};

use super::Outputs;
use super::answers::{Answers, Debt};
use super::barge_in::BargeIn;
use super::command::Deadline;
use super::event::{EdgeKind, PlaybackEvent, ResponseOutcome, SpeechEdge};
use super::limits::Time;
use super::output::{ModelAction, Notification, Output};
use super::transcript::Cut;
use super::voice::{Said, Voice};
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
    /// The agent's. It may be held for somebody who may be speaking.
    Speaking,
}

/// How far a participant's turn has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hearing {
    /// Somebody speaks; the call's idle time is its only end.
    Speech,
    /// Nobody speaks by our ear, and the turn is not yet taken as over.
    Pause {
        /// When we take it as over; or when the model has failed to.
        until: Instant,
    },
}

/// Who says when a participant's turn is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// The model, by its own ear.
    Model,
    /// We, so long after the end of speech.
    Ours { silence: Duration },
}

/// One conversation's turns. It lives inside a call, so nobody can speak outside of one.
#[derive(Debug, PartialEq)]
pub(super) struct Dialogue {
    turn: Turn,
    taking: Taking,
    /// Whether what is being heard is speech, and no mere noise.
    is_meant: bool,
    floor: BargeIn,
    voice: Voice,
    answers: Answers,
}

impl Turn {
    fn thinking(time: Time<'_>) -> Self {
        Self::Thinking { until: time.now + time.limits.answer }
    }
}

impl Dialogue {
    pub(super) fn new() -> Self {
        Self {
            turn: Turn::Listening,
            taking: Taking::Model,
            is_meant: false,
            floor: BargeIn::default(),
            voice: Voice::default(),
            answers: Answers::default(),
        }
    }

    pub(super) const fn turn(&self) -> &Turn {
        &self.turn
    }

    /// The model listens, and this is who takes turns in this session.
    pub(super) fn on_ready(&mut self, taking: Taking, time: Time<'_>) {
        self.taking = taking;
        if matches!(self.turn, Turn::Hearing(_)) {
            self.turn = self.hearing(time.now, time);
        }
    }

    /// The conversation of another agent in this one's place: whoever speaks goes on speaking.
    pub(super) fn pass_on(&mut self) {
        let floor = std::mem::take(&mut self.floor).pass_on();
        *self = Self { is_meant: floor.is_meant(), floor, ..Self::new() };
        if self.floor.somebody_speaks() {
            self.turn = Turn::Hearing(Hearing::Speech);
        }
    }

    /// Our own ear, when the agent is going and nothing depends on it but who speaks.
    pub(super) fn overhear(&mut self, edge: &SpeechEdge) {
        self.floor.on_speech(edge);
    }

    /// Our own ear: quicker than the model's. What may be speech holds the agent, what is speech
    /// breaks it off.
    pub(super) fn on_speech(&mut self, edge: &SpeechEdge, time: Time<'_>, outputs: &mut Outputs) {
        self.floor.on_speech(edge);
        match edge.kind {
            EdgeKind::Started => {
                if self.is_answering() {
                    self.floor.hold(time.now + time.limits.hold, outputs);
                } else {
                    self.turn = Turn::Hearing(Hearing::Speech);
                }
            }
            EdgeKind::Sustained => self.give_way(None, time, outputs),
            EdgeKind::Stopped => self.on_silence(edge.at, time, outputs),
        }
    }

    pub(super) const fn floor(&self) -> &BargeIn {
        &self.floor
    }

    /// Somebody is gone.
    pub(super) fn on_left(&mut self, who: &ParticipantId, time: Time<'_>, outputs: &mut Outputs) {
        self.floor.on_stopped(who);
        self.on_silence(time.now, time, outputs);
    }

    /// Somebody speaks no more, since `at`.
    fn on_silence(&mut self, at: Instant, time: Time<'_>, outputs: &mut Outputs) {
        if self.floor.let_go(outputs) {
            self.go_on(time, outputs);
        }
        if self.floor.somebody_speaks() {
            return;
        }
        let is_ours = matches!(self.taking, Taking::Ours { .. });
        match self.turn {
            Turn::Hearing(Hearing::Speech) if self.is_meant || is_ours => {
                self.turn = self.hearing(at, time);
            }
            Turn::Hearing(Hearing::Speech) => self.turn = self.after_speech(time),
            Turn::Thinking { .. } | Turn::Speaking if is_ours && !self.is_meant => {
                outputs.push_back(Output::Model(ModelAction::Clear));
            }
            Turn::Listening
            | Turn::Hearing(Hearing::Pause { .. })
            | Turn::Thinking { .. }
            | Turn::Speaking => {}
        }
    }

    /// The model's ear has heard a beginning. If it breaks off its answer by that, so do we; if
    /// not, our own ear decides.
    pub(super) fn on_heard(
        &mut self,
        utterance: &UtteranceId,
        interrupts: bool,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        self.floor.on_heard(utterance);
        if interrupts || !self.is_answering() {
            self.give_way(Some(utterance), time, outputs);
        }
    }

    /// The model's ear has heard an end: it will answer, if it takes turns. Whether it does.
    pub(super) fn on_turn_over(&mut self, utterance: &UtteranceId, time: Time<'_>) -> bool {
        self.floor.on_heard_end(utterance);
        if self.taking != Taking::Model {
            return false;
        }
        if self.turn != Turn::Speaking {
            self.is_meant = false;
            self.turn = Turn::thinking(time);
        }
        true
    }

    /// Words of what was heard: no cough has any.
    pub(super) fn on_their_words(
        &mut self,
        utterance: &UtteranceId,
        text: &str,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        if self.floor.is_held_for(utterance) && !text.trim().is_empty() {
            self.give_way(None, time, outputs);
        }
    }

    pub(super) fn on_response_started(
        &mut self,
        response: ResponseId,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        let is_owed_another = self.answers.on_started(response);
        match self.turn {
            Turn::Speaking | Turn::Hearing(Hearing::Speech) => {}
            Turn::Listening | Turn::Thinking { .. } | Turn::Hearing(Hearing::Pause { .. }) => {
                self.turn = Turn::thinking(time);
            }
        }
        if is_owed_another {
            self.respond(None, time, outputs);
        }
    }

    pub(super) fn on_response_done(
        &mut self,
        response: &ResponseId,
        outcome: &ResponseOutcome,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        let was_broken_off = self.answers.on_done(response);
        if let ResponseOutcome::Failed(code) = outcome {
            let message = format!("the model failed to answer: {code}");
            outputs.push_back(error("MODEL_RESPONSE_FAILED", message));
        }
        // Whoever thinks after an answer was broken off thinks about another one.
        if was_broken_off || !matches!(self.turn, Turn::Thinking { .. }) {
            return;
        }
        if *outcome != ResponseOutcome::Completed {
            self.voice.give_up();
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
        if !self.answers.is_broken_off() {
            self.voice.on_words(utterance, text, is_final, outputs);
        }
    }

    /// What was heard of the agent. Returns the words that were, when an utterance is over.
    pub(super) fn on_playback(
        &mut self,
        event: PlaybackEvent,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) -> Option<Said> {
        let said = match event {
            PlaybackEvent::Silent => return None,
            PlaybackEvent::Started { utterance } => {
                self.voice.on_started(utterance, time.now, outputs);
                self.turn = Turn::Speaking;
                return None;
            }
            PlaybackEvent::Finished { utterance, heard_ms } => {
                self.voice.on_finished(utterance, heard_ms, time.now, outputs)
            }
            PlaybackEvent::Flushed { utterance, heard_ms, end_ms, received_ms, is_complete } => {
                let truncate = ModelAction::Truncate { utterance: utterance.clone(), end_ms };
                outputs.push_back(Output::Model(truncate));
                let cut = Cut { heard_ms, end_ms, received_ms, is_complete };
                self.voice.on_cut(utterance, cut, time.now, outputs)
            }
        };
        self.rest(time);
        Some(said)
    }

    /// Asks the model to speak, in these words or its own.
    pub(super) fn respond(
        &mut self,
        words: Option<Pii<String>>,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        self.answers.ask(words, outputs);
        if !matches!(self.turn, Turn::Speaking | Turn::Hearing(Hearing::Speech)) {
            self.turn = Turn::thinking(time);
        }
    }

    /// The model was told something that it is to answer: once, and not while somebody speaks.
    pub(super) fn owe(&mut self, time: Time<'_>, outputs: &mut Outputs) {
        match self.turn {
            _ if self.floor.is_held() => self.answers.owe(Debt::WithTurn),
            Turn::Hearing(_) => self.answers.owe(Debt::WithTurn),
            Turn::Thinking { .. } if self.is_about_to_begin() => self.answers.owe(Debt::AfterNext),
            Turn::Listening | Turn::Thinking { .. } | Turn::Speaking => {
                self.respond(None, time, outputs);
            }
        }
    }

    /// Does what had to wait for silence.
    pub(super) fn settle(&mut self, time: Time<'_>, outputs: &mut Outputs) {
        if self.floor.is_held() && !self.is_answering() {
            self.floor.resume(outputs);
        }
        if self.turn == Turn::Listening && self.answers.debt() != Debt::None {
            self.respond(None, time, outputs);
        }
    }

    /// Falls silent and stops thinking, on somebody's word.
    pub(super) fn interrupt(&mut self, time: Time<'_>, outputs: &mut Outputs) {
        self.floor.flush(outputs);
        self.answers.break_off(outputs);
        self.voice.break_off();
        if matches!(self.turn, Turn::Thinking { .. }) {
            self.rest(time);
        }
    }

    /// Breaks off an answer that has begun and is not wanted.
    pub(super) fn refuse(&mut self, response: ResponseId, time: Time<'_>, outputs: &mut Outputs) {
        self.answers.on_started(response);
        self.interrupt(time, outputs);
    }

    /// Falls silent for good: nothing is held any more.
    pub(super) fn hush(&mut self, outputs: &mut Outputs) {
        self.floor.flush(outputs);
    }

    /// Nothing more will be known of what is heard: it is over, with as much as time tells.
    pub(super) fn fall_silent(&mut self, now: Instant, outputs: &mut Outputs) {
        self.voice.fall_silent(now, outputs);
    }

    /// The session is closed: nothing more comes of it. Whether something is still to be answered.
    pub(super) fn forsake(&mut self, outputs: &mut Outputs) -> bool {
        self.floor.flush(outputs);
        self.voice.break_off();
        (self.taking, self.is_meant) = (Taking::Model, false);
        if self.turn != Turn::Speaking {
            self.turn = Turn::Listening;
        }
        self.answers.forsake()
    }

    /// The model has lost its session, or has it back: it has this much time again.
    pub(super) fn renew(&mut self, until: Instant) {
        match &mut self.turn {
            Turn::Thinking { until: deadline } => *deadline = until,
            Turn::Hearing(Hearing::Pause { until: deadline }) if self.taking == Taking::Model => {
                *deadline = until;
            }
            Turn::Listening | Turn::Hearing(_) | Turn::Speaking => {}
        }
    }

    /// Lets nothing wait for too long. Whether we have taken a turn as over.
    pub(super) fn handle_timeout(&mut self, time: Time<'_>, outputs: &mut Outputs) -> bool {
        let is_due = |deadline: Option<Deadline>| deadline.is_some_and(|(at, _)| at <= time.now);
        if is_due(self.floor.poll_timeout()) {
            self.floor.resume(outputs);
            self.go_on(time, outputs);
        }
        if !is_due(self.turn_deadline()) {
            return false;
        }
        if matches!((&self.turn, self.taking), (Turn::Hearing(_), Taking::Ours { .. })) {
            return self.take_turn(time, outputs);
        }
        self.is_meant = false;
        self.voice.break_off();
        self.answers.give_up();
        self.turn = match self.floor.somebody_speaks() {
            true => Turn::Hearing(Hearing::Speech),
            false => Turn::Listening,
        };
        false
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        [self.floor.poll_timeout(), self.turn_deadline()].into_iter().flatten().min()
    }

    const fn turn_deadline(&self) -> Option<Deadline> {
        match self.turn {
            Turn::Listening | Turn::Speaking | Turn::Hearing(Hearing::Speech) => None,
            Turn::Hearing(Hearing::Pause { until }) => Some((until, "end of turn")),
            Turn::Thinking { until } => Some((until, "answer")),
        }
    }

    /// A participant's turn is over because we say so; if it was one.
    fn take_turn(&mut self, time: Time<'_>, outputs: &mut Outputs) -> bool {
        if !std::mem::take(&mut self.is_meant) {
            outputs.push_back(Output::Model(ModelAction::Clear));
            self.turn = self.after_speech(time);
            return false;
        }
        outputs.push_back(Output::Model(ModelAction::Commit));
        self.turn = Turn::thinking(time);
        self.respond(None, time, outputs);
        true
    }

    /// It is speech: the agent breaks off what it says, or was about to.
    fn give_way(&mut self, heard: Option<&UtteranceId>, time: Time<'_>, outputs: &mut Outputs) {
        if self.is_answering() {
            self.floor.flush(outputs);
            self.answers.give_way(heard, outputs);
            self.voice.break_off();
        }
        self.is_meant = true;
        self.turn = self.hearing(time.now, time);
    }

    /// What held the agent was nothing: what was owed meanwhile is owed as before.
    fn go_on(&mut self, time: Time<'_>, outputs: &mut Outputs) {
        if self.answers.debt() == Debt::WithTurn {
            self.answers.owe(Debt::None);
            self.owe(time, outputs);
        }
    }

    /// Whether a tool that this answer asks for may run: not if the answer was broken off.
    pub(super) fn may_call(&self, response: &ResponseId) -> bool {
        self.answers.may_call(response)
    }

    /// Whether the agent speaks, or is about to.
    pub(super) const fn is_answering(&self) -> bool {
        matches!(self.turn, Turn::Speaking | Turn::Thinking { .. })
    }

    /// Whether there is nothing to wait for.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.is_answering() && self.answers.debt() == Debt::None
    }

    /// Whether nobody speaks, nobody may be speaking, and nobody is about to.
    pub(super) fn is_quiet(&self) -> bool {
        self.turn == Turn::Listening && self.is_at_rest() && !self.answers.is_awaited()
    }

    /// The turn after something has ended: whoever speaks has it, or the model if it has more.
    fn rest(&mut self, time: Time<'_>) {
        let is_spoken_over =
            self.floor.somebody_speaks() && !(self.floor.is_held() && self.has_more());
        self.turn = if matches!(self.turn, Turn::Hearing(_)) || is_spoken_over {
            self.hearing(time.now, time)
        } else {
            self.after_speech(time)
        };
    }

    /// The turn when nobody speaks: the model's, if more is to come, or that of who has no answer.
    fn after_speech(&self, time: Time<'_>) -> Turn {
        if self.has_more() || self.answers.is_awaited() {
            Turn::thinking(time)
        } else if self.is_meant && matches!(self.taking, Taking::Ours { .. }) {
            self.hearing(time.now, time)
        } else {
            Turn::Listening
        }
    }

    fn has_more(&self) -> bool {
        self.answers.is_running() || self.voice.is_awaited()
    }

    /// Whether the model will answer by itself, and has not begun.
    fn is_about_to_begin(&self) -> bool {
        !self.has_more() && !self.answers.is_awaited()
    }

    /// A participant's turn, in which nobody has spoken since `at` if nobody speaks.
    fn hearing(&self, at: Instant, time: Time<'_>) -> Turn {
        Turn::Hearing(if self.floor.somebody_speaks() {
            Hearing::Speech
        } else {
            let until = match self.taking {
                Taking::Model => time.now + time.limits.turn_end,
                Taking::Ours { silence } => at + silence,
            };
            Hearing::Pause { until }
        })
    }
}

pub(super) fn error(code: &'static str, message: impl Into<String>) -> Output {
    Output::Notify(Notification::Error { code, message: message.into() })
}
