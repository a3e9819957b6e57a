//! From one agent to another: what moves is a value that exists once.

use super::call::Call;
use super::history::History;
use super::in_call::InCall;
use super::lifecycle::Step;
use super::limits::Time;
use super::record::RecordEntry;
use super::{Agent, Phase};
use crate::privacy::Pii;

/// All that a successor takes over. It cannot be copied: whoever holds it goes on, and nobody
/// else does.
#[derive(Debug, PartialEq)]
pub struct Baggage {
    pub(super) history: History,
    pub(super) call: Option<Box<InCall>>,
    /// What the successor should know besides.
    pub(super) note: Option<Pii<String>>,
}

impl Baggage {
    /// Whether a call comes with it, and with the call a room.
    #[must_use]
    pub const fn has_call(&self) -> bool {
        self.call.is_some()
    }
}

impl Agent {
    /// Goes on where another agent has stopped.
    pub(super) fn take_over(&mut self, baggage: Baggage, time: Time<'_>) {
        self.expected = None;
        let Baggage { history, call, note } = baggage;
        if self.farewell.is_some() {
            return self.decline(call, time);
        }
        // The next session with the model begins with the whole story.
        self.rounds.close(&mut self.outputs);
        self.history.follow(history);
        let is_spoken_to = note.is_some();
        if let Some(note) = note {
            self.history.add_news(note);
        }
        if call.is_some() && !matches!(self.call, Call::Out) {
            // Nobody may join while a handoff is expected, so only one that took too long.
            return self.decline(call, time);
        }
        if let Some(call) = call {
            self.clients.expect(time.limits, time.now);
            if self.phase() != Phase::Active {
                self.step(Step::TookOver, "another agent's call goes on");
            }
            self.call.take_over(call, &self.spec, time, &mut self.outputs);
            self.open_voice();
            // Somebody is there and waits: the newcomer speaks first, with its greeting or without.
            if self.spec.model.greeting.is_none() {
                self.owe_a_word();
            }
        } else if is_spoken_to {
            self.owe_a_word();
        }
    }

    /// Cannot take a call over: it ends here.
    fn decline(&mut self, call: Option<Box<InCall>>, time: Time<'_>) {
        let Some(call) = call else { return };
        let at_ms = call.stay.at_ms(time.now);
        let entry = RecordEntry::Ended { reason: "handoff failed".into(), at_ms };
        self.outputs.push_back(call.on_record(entry));
    }
}
