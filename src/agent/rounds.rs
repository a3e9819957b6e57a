//! Thinking outside of calls: one text session with the model, and one round at a time.
//!
//! ```text
//!            trigger            ready               done
//!   Closed ──────────▶ Opening ───────▶ Running ──────────▶ Resting
//!      ▲                                  ▲                   │  │
//!      │                                  └───── trigger ─────┘  │
//!      └───────────────────── nothing for a while ───────────────┘
//! ```
//!
//! News from outside break off the running round and begin it anew; a tool's results wait for
//! its end. Every state but `Closed` has a deadline.

use std::time::Instant;

use super::Outputs;
use super::command::Deadline;
use super::event::ResponseOutcome;
use super::history::{History, Speaker};
use super::limits::Time;
use super::output::{Activity, Medium, ModelAction, Notification, Output, SpeakStatus};
use super::spec::AgentSpec;
use super::turn::error;
use crate::ids::{ResponseId, UtteranceId};
use crate::privacy::Pii;

/// What makes the agent think; the stronger one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trigger {
    /// The results of its own tools.
    Tools,
    /// Something from outside.
    Outside,
}

/// What a round reads from, and what it writes to.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) history: &'a mut History,
    pub(super) outputs: &'a mut Outputs,
}

/// The text session.
#[derive(Debug, PartialEq)]
pub(super) enum Rounds {
    /// There is none.
    Closed,
    /// Asked for; a round waits for it.
    Opening { until: Instant },
    /// Open, and nothing to do.
    Resting { until: Instant },
    /// The model is at work.
    Running(Round),
}

/// One answer of the model.
#[derive(Debug, PartialEq)]
pub(super) struct Round {
    until: Instant,
    response: Option<ResponseId>,
    writing: Writing,
    /// Broken off: nothing of it counts any more.
    discarded: bool,
    /// Whether another one follows.
    again: bool,
}

/// How far an answer has come; one that asks for a tool need not have words.
#[derive(Debug, PartialEq)]
enum Writing {
    Nothing,
    Some(UtteranceId),
    All,
}

impl Rounds {
    pub(super) const fn activity(&self) -> Activity {
        match self {
            Self::Closed
            | Self::Resting { .. }
            | Self::Running(Round { discarded: true, again: false, .. }) => Activity::Idle,
            Self::Opening { .. }
            | Self::Running(
                Round { discarded: true, .. } | Round { writing: Writing::Nothing, .. },
            ) => Activity::Thinking,
            Self::Running(_) => Activity::Acting,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self, Self::Closed)
    }

    /// Lets the agent think, now or as soon as it can. Whether a session was asked for.
    pub(super) fn begin(
        &mut self,
        trigger: Trigger,
        spec: &AgentSpec,
        desk: &mut Desk<'_>,
        time: Time<'_>,
    ) -> bool {
        match self {
            Self::Closed => {
                let spec = Box::new(spec.clone());
                let open = ModelAction::Open { spec, medium: Medium::Text };
                desk.outputs.push_back(Output::Model(open));
                *self = Self::Opening { until: time.now + time.limits.model_opening };
                return true;
            }
            Self::Opening { .. } => {}
            Self::Resting { .. } => {
                desk.history.give(desk.outputs);
                self.run(time, desk.outputs);
            }
            Self::Running(round) => {
                round.again = true;
                if trigger == Trigger::Outside {
                    round.discard(desk.outputs);
                }
            }
        }
        false
    }

    /// The model listens: it hears the whole story.
    pub(super) fn on_ready(&mut self, desk: &mut Desk<'_>, time: Time<'_>) {
        if matches!(self, Self::Opening { .. }) {
            desk.history.give_all(desk.outputs);
            self.run(time, desk.outputs);
        }
    }

    pub(super) fn on_response_started(&mut self, response: ResponseId, time: Time<'_>) {
        if let Self::Running(round) = self {
            round.response = Some(response);
            round.until = time.now + time.limits.answer;
        }
    }

    /// What the agent writes; it goes on record when it is complete.
    pub(super) fn on_words(
        &mut self,
        words: (UtteranceId, Pii<String>, bool),
        desk: &mut Desk<'_>,
        time: Time<'_>,
    ) {
        let Self::Running(round) = self else { return };
        if round.discarded {
            return;
        }
        round.until = time.now + time.limits.answer;
        let (utterance, text, is_final) = words;
        if is_final {
            desk.history.note(Speaker::Agent, text.clone());
            round.writing = Writing::All;
        } else {
            round.writing = Writing::Some(utterance.clone());
        }
        let told = Notification::Speak { utterance, text, is_final };
        desk.outputs.push_back(Output::Notify(told));
    }

    /// Whether a tool that this answer asks for may run: not if the answer was broken off.
    pub(super) fn may_call(&self, response: &ResponseId) -> bool {
        match self {
            Self::Running(round) => {
                !round.discarded && round.response.as_ref().is_none_or(|known| known == response)
            }
            Self::Closed | Self::Opening { .. } | Self::Resting { .. } => false,
        }
    }

    /// The answer asks for a tool: it acts until its end, even if the result is here before that.
    pub(super) fn on_tool_call(&mut self) {
        if let Self::Running(Round { writing: writing @ Writing::Nothing, .. }) = self {
            *writing = Writing::All;
        }
    }

    pub(super) fn on_response_done(
        &mut self,
        response: &ResponseId,
        outcome: &ResponseOutcome,
        desk: &mut Desk<'_>,
        time: Time<'_>,
    ) {
        let Self::Running(round) = self else { return };
        if round.response.as_ref().is_some_and(|running| running != response) {
            return;
        }
        if let (ResponseOutcome::Failed(code), false) = (outcome, round.discarded) {
            let message = format!("the model failed to answer: {code}");
            desk.outputs.push_back(error("MODEL_RESPONSE_FAILED", message));
        }
        if round.again {
            desk.history.give(desk.outputs);
            self.run(time, desk.outputs);
        } else {
            *self = Self::Resting { until: time.now + time.limits.text_linger };
        }
    }

    /// The session is gone. Whether a round was under way.
    pub(super) fn on_failed(&mut self, reason: &str, outputs: &mut Outputs) {
        let before = std::mem::replace(self, Self::Closed);
        let activity = before.activity();
        before.break_off(outputs);
        if activity != Activity::Idle {
            outputs.push_back(error("MODEL_UNAVAILABLE", reason));
        }
    }

    /// The model has lost its session, or has it back: the round has this much time again.
    pub(super) const fn renew(&mut self, until: Instant) {
        if let Self::Running(round) = self {
            round.until = until;
        }
    }

    /// Breaks off the running round.
    pub(super) fn interrupt(&mut self, outputs: &mut Outputs) {
        match self {
            Self::Closed | Self::Resting { .. } => {}
            Self::Opening { .. } => self.close(outputs),
            Self::Running(round) => {
                round.again = false;
                round.discard(outputs);
            }
        }
    }

    /// Closes the session, whatever it was at.
    pub(super) fn close(&mut self, outputs: &mut Outputs) {
        let before = std::mem::replace(self, Self::Closed);
        if before.is_open() {
            before.break_off(outputs);
            outputs.push_back(Output::Model(ModelAction::Close));
        }
    }

    /// What was being written has no end.
    fn break_off(self, outputs: &mut Outputs) {
        if let Self::Running(mut round) = self {
            round.tell_broken(outputs);
        }
    }

    /// Ends what has waited for too long; a session rests for longer while tools run. Whether a
    /// round that was to follow must begin in another session.
    pub(super) fn handle_timeout(
        &mut self,
        tools_run: bool,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) -> bool {
        if self.poll_timeout().is_none_or(|(at, _)| at > time.now) {
            return false;
        }
        let mut is_owed = false;
        match self {
            Self::Resting { until } if tools_run => {
                *until = time.now + time.limits.text_linger;
                return false;
            }
            Self::Closed | Self::Resting { .. } => {}
            Self::Running(Round { discarded: true, again, .. }) => is_owed = *again,
            Self::Opening { .. } | Self::Running(_) => {
                outputs.push_back(error("MODEL_UNAVAILABLE", "the model did not answer in time"));
            }
        }
        self.close(outputs);
        is_owed
    }

    pub(super) const fn poll_timeout(&self) -> Option<Deadline> {
        match self {
            Self::Closed => None,
            Self::Opening { until } => Some((*until, "model session")),
            Self::Resting { until } => Some((*until, "text session at rest")),
            Self::Running(round) => Some((round.until, "answer")),
        }
    }

    fn run(&mut self, time: Time<'_>, outputs: &mut Outputs) {
        outputs.push_back(Output::Model(ModelAction::Respond { instructions: None }));
        *self = Self::Running(Round {
            until: time.now + time.limits.answer,
            response: None,
            writing: Writing::Nothing,
            discarded: false,
            again: false,
        });
    }
}

impl Round {
    /// Breaks it off; who has read the beginning of a sentence learns that it has no end.
    fn discard(&mut self, outputs: &mut Outputs) {
        if std::mem::replace(&mut self.discarded, true) {
            return;
        }
        outputs.push_back(Output::Model(ModelAction::Cancel));
        self.tell_broken(outputs);
    }

    fn tell_broken(&mut self, outputs: &mut Outputs) {
        if let Writing::Some(utterance) = std::mem::replace(&mut self.writing, Writing::All) {
            let (status, text) = (SpeakStatus::Interrupted, Pii::new(String::new()));
            let told = Notification::SpeakStatus { utterance, status, heard_ms: 0, text };
            outputs.push_back(Output::Notify(told));
        }
    }
}
