//! What clients ask of an agent: done, or refused with nothing changed.

use std::sync::Arc;

use super::call::Call;
use super::command::{Command, ContextUpdate, JoinRequest, Rejection};
use super::ending::{End, Parting};
use super::lifecycle::Step;
use super::limits::Time;
use super::output::{Phase, ToolCancel};
use super::rounds::Trigger;
use super::{Agent, AgentSpec, Lease};

impl Agent {
    pub(super) fn obey(&mut self, command: Command, time: Time<'_>) -> Result<(), Rejection> {
        match command {
            Command::Join(request) => self.join(request, time),
            Command::Leave => self.leave(time),
            Command::Context(update) => self.on_context(update),
            Command::ToolResult(result) => {
                let resolved = self.tools.on_result(result)?;
                self.resolve(resolved, time.now);
                Ok(())
            }
            Command::Say(text) => {
                let call = self.call.in_call().ok_or(Rejection::NotInCall)?;
                call.say(&text, time, &mut self.outputs)?;
                self.rounds_alone = 0;
                Ok(())
            }
            Command::Interrupt => {
                self.interrupt(time);
                Ok(())
            }
            Command::SetMuted(muted) => {
                self.muted = muted;
                if muted {
                    self.interrupt(time);
                }
                Ok(())
            }
            Command::Reconfigure { spec, expires_at } => {
                let lease = expires_at.map(|at| at.map_or(Lease::Open, Lease::Until));
                self.reconfigure(spec, lease, time)
            }
            Command::HandOff { to, reason, context } => {
                self.begin_handoff(Parting::HandOff { to, reason, context }, time)
            }
            Command::ExpectHandoff => self.expect_handoff(time),
            Command::Delete => {
                self.end(End::Deleted, time);
                Ok(())
            }
        }
    }

    fn join(&mut self, request: JoinRequest, time: Time<'_>) -> Result<(), Rejection> {
        if let Some(view) = self.call.view() {
            return Err(Rejection::AlreadyInCall { room_url: view.room_url });
        }
        if !self.spec.voice_enabled {
            return Err(Rejection::VoiceNotEnabled);
        }
        let may = matches!(self.phase(), Phase::Connected | Phase::Active);
        if !may || self.expected.is_some() || matches!(self.lease, Lease::Draining(_)) {
            return Err(self.out_of_turn());
        }
        // One mind at a time: what it was thinking about, it will hear of again in the call.
        self.rounds.close(&mut self.outputs);
        self.call.on_join(request, &self.spec, time, &mut self.outputs);
        Ok(())
    }

    fn leave(&mut self, time: Time<'_>) -> Result<(), Rejection> {
        if matches!(self.call, Call::Out | Call::Leaving { .. }) {
            return Err(Rejection::NotInCall);
        }
        self.call.leave("requested", time, &mut self.outputs);
        Ok(())
    }

    /// New context replaces the one before; the model hears of it as soon as it can.
    fn on_context(&mut self, update: ContextUpdate) -> Result<(), Rejection> {
        let triggering = update.triggering;
        self.history.tell(update)?;
        if triggering && !matches!(self.lease, Lease::Draining(_)) {
            self.rounds_alone = 0;
            self.owed = Some(Trigger::Outside);
        }
        Ok(())
    }

    fn interrupt(&mut self, time: Time<'_>) {
        self.owed = None;
        self.rounds_alone = 0;
        if let Some(call) = self.call.in_call() {
            call.interrupt(time, &mut self.outputs);
        }
        self.rounds.interrupt(&mut self.outputs);
        let cancelled = self.tools.cancel_all(ToolCancel::Interrupted, &mut self.outputs);
        self.resolve(cancelled, time.now);
    }

    /// Becomes another; the next session with the model is with that one.
    fn reconfigure(
        &mut self,
        spec: Option<Arc<AgentSpec>>,
        lease: Option<Lease>,
        time: Time<'_>,
    ) -> Result<(), Rejection> {
        if matches!(self.phase(), Phase::Active | Phase::HandingOff) {
            return Err(Rejection::AgentBusy);
        }
        // A lease that is over stays over, even if nobody has looked yet.
        if matches!(self.lease, Lease::Until(at) | Lease::Draining(at) if at <= time.now) {
            return Err(Rejection::InvalidState { phase: Phase::Ended.as_str() });
        }
        if let Some(spec) = spec {
            self.rounds.close(&mut self.outputs);
            self.spec = spec;
        }
        if let (Some(lease), Lease::Open | Lease::Until(_)) = (lease, self.lease) {
            self.lease = lease;
        }
        Ok(())
    }

    fn begin_handoff(&mut self, parting: Parting, time: Time<'_>) -> Result<(), Rejection> {
        let is_between = matches!(self.call, Call::Joining { .. } | Call::Leaving { .. });
        let may = matches!(self.phase(), Phase::Connected | Phase::Active);
        // What is still to come could not be passed on: two agents that hand off to each other
        // would both be gone.
        let is_heir = self.expected.is_some();
        if !may || is_between || is_heir || matches!(self.lease, Lease::Draining(_)) {
            return Err(self.out_of_turn());
        }
        self.step(Step::HandoffBegan, "handoff");
        self.part(parting, time);
        Ok(())
    }

    fn expect_handoff(&mut self, time: Time<'_>) -> Result<(), Rejection> {
        let is_draining = matches!(self.lease, Lease::Draining(_));
        if self.call.view().is_some() || self.expected.is_some() || is_draining {
            return Err(Rejection::AgentBusy);
        }
        self.expected = Some(time.now + time.limits.handoff);
        Ok(())
    }
}
