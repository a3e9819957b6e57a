//! The end of an agent, in its order: leave the call, tell the clients, close them, forget.
//!
//! An agent that is heard falls silent first, so that what was heard of it is known to the word
//! before its call is left or passed on.

use std::time::Instant;

use super::call::Call;
use super::handoff::Baggage;
use super::lifecycle::Step;
use super::limits::Time;
use super::output::{Memory, Notification, Output, Phase, ToolCancel};
use super::record::RecordEntry;
use super::turn::error;
use super::{Agent, Lease};
use crate::ids::AgentId;
use crate::privacy::Pii;

/// Why an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Expired,
    Deleted,
    Inactive,
    Shutdown,
}

/// In which way an agent goes.
#[derive(Debug)]
pub(super) enum Parting {
    /// It is over.
    End(End),
    /// Another goes on.
    HandOff { to: AgentId, reason: String, context: Option<Pii<String>> },
}

/// A parting that waits for silence.
#[derive(Debug)]
pub(super) struct Farewell {
    parting: Parting,
    /// When it waits no more.
    pub(super) until: Instant,
}

impl Agent {
    /// Whether the process may go down as far as this agent is concerned.
    pub(super) fn drained(&mut self, now: Instant) -> bool {
        let Lease::Draining(until) = self.lease else { return false };
        let in_call = self.call.in_call();
        let at_rest = in_call.is_none_or(|call| call.dialogue.is_at_rest())
            && self.tools.is_idle()
            && self.owed.is_none()
            && self.rounds.activity() == super::Activity::Idle;
        at_rest || until <= now
    }

    pub(super) fn end(&mut self, end: End, time: Time<'_>) {
        self.part(Parting::End(end), time);
    }

    /// Stops all work, falls silent, and then goes. The first reason to go is the one that counts.
    pub(super) fn part(&mut self, parting: Parting, time: Time<'_>) {
        if self.farewell.is_some() {
            return;
        }
        self.fall_idle(ToolCancel::Ended, time.now);
        self.farewell = Some(Farewell { parting, until: time.now + time.limits.farewell });
        if let Call::In(call) = &mut self.call {
            call.dialogue.hush(&mut self.outputs);
        } else {
            self.finish(time);
        }
    }

    /// It is silent: the end, in its order.
    pub(super) fn finish(&mut self, time: Time<'_>) {
        match self.farewell.take().map(|farewell| farewell.parting) {
            Some(Parting::End(end)) => self.finish_end(end, time),
            Some(Parting::HandOff { to, reason, context }) => {
                self.finish_handoff(to, reason, context, time);
            }
            None => {}
        }
    }

    fn finish_end(&mut self, end: End, time: Time<'_>) {
        let reason = end.reason();
        self.call.leave_at_once(reason, time.now, &mut self.outputs);
        if end == End::Shutdown {
            // The agent is kept, so its clients are not told that it has ended.
            self.lifecycle.take(Step::Ended);
        } else {
            self.step(Step::Ended, reason);
        }
        self.outputs.push_back(error(end.code(), end.message()));
        self.outputs.push_back(Output::CloseClients);
        self.outputs.push_back(match end {
            End::Expired => Output::Forget(Memory::Expired),
            End::Deleted | End::Inactive => Output::Forget(Memory::None),
            End::Shutdown => Output::Stop,
        });
    }

    fn finish_handoff(
        &mut self,
        to: AgentId,
        reason: String,
        context: Option<Pii<String>>,
        time: Time<'_>,
    ) {
        let call = self.call.give_away(time.now, &mut self.outputs);
        if let Some(call) = &call {
            let (to, reason, at_ms) = (to.clone(), reason.clone(), call.stay.at_ms(time.now));
            self.outputs.push_back(call.on_record(RecordEntry::HandedOff { to, reason, at_ms }));
        } else {
            // The call was lost while the agent fell silent: there is none to pass on.
            self.call.leave_at_once("handed off", time.now, &mut self.outputs);
        }
        let history = std::mem::take(&mut self.history);
        let note = context.map(|context| {
            let context = context.expose();
            Pii::new(format!("handoff: You go on in the place of another ({reason}). {context}"))
        });
        self.outputs.push_back(Output::HandOff(Box::new(Baggage { history, call, note })));
        debug_assert!(self.phase() == Phase::HandingOff, "a handoff has begun");
        let heir = to.clone();
        self.outputs.push_back(Output::Notify(Notification::Handoff { to, reason }));
        self.step(Step::Ended, "handed off");
        self.outputs.push_back(Output::CloseClients);
        self.outputs.push_back(Output::Forget(Memory::Heir(heir)));
    }
}

impl End {
    const fn code(self) -> &'static str {
        match self {
            Self::Expired => "AGENT_EXPIRED",
            Self::Deleted => "AGENT_DELETED",
            Self::Inactive => "AGENT_INACTIVE",
            Self::Shutdown => "SERVER_SHUTDOWN",
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Inactive => "inactive",
            Self::Shutdown => "shutdown",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Expired => "the agent's time to live is over",
            Self::Deleted => "the agent was deleted by its owner",
            Self::Inactive => "the agent has had no client and no call for too long",
            Self::Shutdown => "the server is shutting down; the agent is kept",
        }
    }
}
