//! The end of an agent, in its order: leave the call, tell the clients, close them, forget.

use std::time::Instant;

use super::lifecycle::Step;
use super::output::{Output, ToolCancel};
use super::turn::{Time, Turn, error};
use super::{Agent, Lease};

/// Why an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Expired,
    Deleted,
    Inactive,
    Shutdown,
}

impl Agent {
    /// Whether the process may go down as far as this agent is concerned.
    pub(super) fn drained(&mut self, now: Instant) -> bool {
        let Lease::Draining(until) = self.lease else { return false };
        let at_rest = self
            .call
            .in_call()
            .is_none_or(|call| matches!(call.dialogue.turn(), Turn::Listening | Turn::Hearing(_)));
        at_rest || until <= now
    }

    /// The end, in its order: leave the call, tell, close, forget.
    pub(super) fn end(&mut self, end: End, time: Time<'_>) {
        let reason = end.reason();
        self.tools.cancel_all(ToolCancel::Ended, &mut self.outputs);
        self.call.leave_at_once(reason, time, &mut self.outputs);
        if end == End::Shutdown {
            // The agent is kept, so its clients are not told that it has ended.
            self.lifecycle.take(Step::Ended);
        } else {
            self.step(Step::Ended, reason);
        }
        self.outputs.push_back(error(end.code(), end.message()));
        self.outputs.push_back(Output::CloseClients);
        self.outputs.push_back(match end {
            End::Expired => Output::Forget { expired: true },
            End::Deleted | End::Inactive => Output::Forget { expired: false },
            End::Shutdown => Output::Stop,
        });
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
