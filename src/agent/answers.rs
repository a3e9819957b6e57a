//! The model's answers: the one that runs, those that were broken off, what was asked for, and
//! whether another one is owed.

use std::collections::VecDeque;

use super::Outputs;
use super::output::{ModelAction, Output};
use super::voice::remember;
use crate::ids::{ResponseId, UtteranceId};
use crate::privacy::Pii;

/// What is known of a model's answers in a call.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answers {
    /// The answer that is being given, or has been broken off and has not ended yet.
    running: Option<ResponseId>,
    /// Answers that were broken off: no tool of theirs runs.
    discarded: VecDeque<ResponseId>,
    /// An answer to the conversation was asked for, and has not begun.
    is_asked: bool,
    /// Words were asked for that the model is to say, and have not begun.
    words_asked: bool,
    debt: Debt,
}

/// Whether the model is to answer to something that it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Debt {
    /// No.
    #[default]
    None,
    /// It was told while somebody spoke: the answer to them pays it.
    WithTurn,
    /// It was told when the model was about to begin: the answer after that one pays it.
    AfterNext,
}

impl Answers {
    /// Asks for an answer.
    pub(super) fn ask(&mut self, words: Option<Pii<String>>, outputs: &mut Outputs) {
        if words.is_some() {
            self.words_asked = true;
        } else {
            self.is_asked = true;
            self.debt = Debt::None;
        }
        outputs.push_back(Output::Model(ModelAction::Respond { instructions: words }));
    }

    /// An answer has begun. Whether another one is to be asked for after it.
    pub(super) fn on_started(&mut self, response: ResponseId) -> bool {
        self.running = Some(response);
        if std::mem::take(&mut self.words_asked) {
            return false;
        }
        self.is_asked = false;
        std::mem::take(&mut self.debt) == Debt::AfterNext
    }

    /// An answer is over. Whether it had been broken off before.
    pub(super) fn on_done(&mut self, response: &ResponseId) -> bool {
        self.running.take_if(|running| running == response);
        self.discarded.contains(response)
    }

    /// What was asked for does not come.
    pub(super) fn give_up(&mut self) {
        (self.is_asked, self.words_asked) = (false, false);
    }

    /// Breaks off the one that runs, and all that was asked for.
    pub(super) fn break_off(&mut self, outputs: &mut Outputs) {
        outputs.push_back(Output::Model(ModelAction::Cancel));
        self.discard();
    }

    /// Breaks off because somebody speaks: what was to be answered is, together with them. `heard`
    /// is what the model hears of them, if that is how we know.
    pub(super) fn give_way(&mut self, heard: Option<&UtteranceId>, outputs: &mut Outputs) {
        let is_owed = self.is_asked || self.debt != Debt::None;
        outputs.push_back(Output::Model(match heard {
            Some(utterance) => ModelAction::GiveWay { utterance: utterance.clone() },
            None => ModelAction::Cancel,
        }));
        self.discard();
        if is_owed {
            self.debt = Debt::WithTurn;
        }
    }

    fn discard(&mut self) {
        self.give_up();
        self.debt = Debt::None;
        if let Some(running) = &self.running
            && !self.is_broken_off()
        {
            remember(&mut self.discarded, running.clone());
        }
    }

    /// The session is closed. Whether something is still to be answered.
    pub(super) fn forsake(&mut self) -> bool {
        let is_owed = self.is_asked || self.debt != Debt::None;
        *self = Self::default();
        is_owed
    }

    pub(super) const fn owe(&mut self, debt: Debt) {
        self.debt = debt;
    }

    pub(super) const fn debt(&self) -> Debt {
        self.debt
    }

    /// Whether an answer is being given that is not broken off.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some() && !self.is_broken_off()
    }

    /// Whether we have asked for the next answer.
    pub(super) const fn is_awaited(&self) -> bool {
        self.is_asked || self.words_asked
    }

    pub(super) fn is_broken_off(&self) -> bool {
        self.running.as_ref().is_some_and(|running| self.discarded.contains(running))
    }

    /// Whether a tool that this answer asks for may run: not if the answer was broken off.
    pub(super) fn may_call(&self, response: &ResponseId) -> bool {
        !self.discarded.contains(response)
    }
}

/// How a model is told to say something.
pub(super) fn say(text: &str) -> Pii<String> {
    Pii::new(format!("Say exactly: \"{text}\""))
}
