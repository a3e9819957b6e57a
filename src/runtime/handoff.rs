//! A handoff from one agent's task to another's: first the heir is made ready, then the first
//! falls silent and sends everything it has through a door that is held open for it.

use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::core::{Heritage, Stimulus};
use super::driver::{Driver, Input};
use super::gateway::Gateway;
use super::handle::{CreateError, FindError, HandOffError, HandOffWish, Heir};
use super::recording::Recording;
use super::registry::Seat;
use super::tracer::OpenTrace;
use crate::agent::{CallStage, Command, Phase, Rejection, Snapshot};
use crate::ids::{AgentId, UserId};
use crate::rooms::RoomLink;

/// The way to the agent that goes on: room for one input, which nobody else can take.
pub(super) type HeirDoor = (mpsc::OwnedPermit<Input>, oneshot::Sender<()>);

/// The owner's word to an agent to pass its conversation on.
#[derive(Debug)]
pub(super) struct HandOff {
    /// What the core is asked.
    command: Command,
    heir: HeirDoor,
    reply: oneshot::Sender<Result<(), Rejection>>,
}

/// All that moves from one task to another. It exists once.
#[derive(Debug)]
pub(super) struct Handover {
    heritage: Box<Heritage>,
    /// The room of the call in it.
    room: Option<RoomLink>,
    /// The recording of that call, if it has one.
    recording: Option<Recording>,
    /// The journal of the first agent, if it writes one.
    journal: Option<String>,
    /// The trace of the call in it, if there are traces.
    trace: Option<OpenTrace>,
    /// Told when all of it has arrived.
    arrived: oneshot::Sender<()>,
}

impl Gateway {
    /// Passes an agent's conversation on to another, and ends it; returns the one that goes on.
    ///
    /// Returns when the first agent is gone and the heir has everything.
    pub async fn hand_off(
        &self,
        owner: &UserId,
        id: &AgentId,
        wish: HandOffWish,
    ) -> Result<AgentId, HandOffError> {
        let seat = self.find(owner, id).await?;
        if !self.is_ready() {
            return Err(CreateError::Draining.into());
        }
        let HandOffWish { heir, reason, context } = wish;
        if matches!(&heir, Heir::Known(heir) if heir == id) {
            return Err(HandOffError::Itself);
        }
        check_may(&seat.snapshot.borrow())?;
        let is_new = matches!(heir, Heir::New(_));
        let heir = self.heir_of(owner, &seat, heir).await?;
        let to = heir.record().id.clone();
        let command = Command::HandOff { to: to.clone(), reason, context };
        let outcome = self.pass_on(&seat, &heir, command).await;
        if outcome.is_err() && is_new {
            // Nobody knows of it: it goes as it came.
            self.delete(owner, &to).await?;
        }
        outcome.map(|()| to)
    }

    async fn heir_of(&self, owner: &UserId, seat: &Seat, heir: Heir) -> Result<Seat, HandOffError> {
        let id = match heir {
            Heir::New(mut new) => {
                // The user comes with the handoff: two agents never serve one.
                new.user_id = None;
                self.create(owner, *new).await?.record.id
            }
            Heir::Known(id) => id,
        };
        let heir = self.seat_of(owner, &id).ok_or(HandOffError::NoHeir)?;
        if seat.record().user_id.is_some() && heir.record().user_id.is_some() {
            return Err(HandOffError::ServesAnother(id));
        }
        Ok(heir)
    }

    async fn pass_on(
        &self,
        seat: &Seat,
        heir: &Seat,
        command: Command,
    ) -> Result<(), HandOffError> {
        let broken = |_| HandOffError::Broken;
        let (reply, outcome) = oneshot::channel();
        let expect = Input::Command(Command::ExpectHandoff, reply);
        heir.door.send(expect).await.map_err(|_| HandOffError::Broken)?;
        outcome.await.map_err(broken)?.map_err(HandOffError::HeirRejected)?;
        let permit = heir.door.clone().reserve_owned().await;
        let permit = permit.map_err(|_| HandOffError::Broken)?;
        let (arrived, arrival) = oneshot::channel();
        let (reply, outcome) = oneshot::channel();
        let wish = HandOff { command, heir: (permit, arrived), reply };
        seat.door.send(Input::HandOff(wish)).await.map_err(|_| HandOffError::Broken)?;
        outcome.await.map_err(broken)??;
        seat.deleted().await.map_err(FindError::Store)?;
        arrival.await.map_err(broken)
    }
}

/// Refuses early what the agent itself would refuse, before anybody is made or made to wait.
fn check_may(first: &Snapshot) -> Result<(), Rejection> {
    let is_in_place = first.call.as_ref().is_none_or(|call| call.stage == CallStage::InCall);
    if is_in_place && matches!(first.phase, Phase::Connected | Phase::Active) {
        return Ok(());
    }
    Err(Rejection::InvalidState { phase: first.phase.as_str() })
}

impl Driver {
    pub(super) fn begin_handoff(&mut self, wish: HandOff, now: Instant) {
        let HandOff { command, heir, reply } = wish;
        let outcome = self.ask(command, now);
        self.heir = outcome.is_ok().then_some(heir);
        // An owner that has gone before the answer needs none.
        let _ = reply.send(outcome);
    }

    /// Sends everything to the agent that goes on; with a call, the room goes too, so that the
    /// callers notice nothing but another voice.
    pub(super) fn hand_over(&mut self, heritage: Box<Heritage>) {
        let Some((permit, arrived)) = self.heir.take() else {
            return tracing::error!("a conversation was to be passed on, to nobody");
        };
        let room = heritage.has_call().then(|| self.room.take()).flatten();
        let recording = room.as_ref().and_then(|_| self.recording.take());
        let journal = self.pen.as_ref().map(|pen| pen.file().to_owned());
        let trace = self.tracer.pass_on();
        let handover = Handover { heritage, room, recording, journal, trace, arrived };
        permit.send(Input::TakeOver(Box::new(handover)));
    }

    pub(super) fn take_over(&mut self, handover: Handover, now: Instant) {
        let Handover { heritage, room, recording, journal, trace, arrived } = handover;
        self.tracer.go_on_with(trace);
        if self.room.is_none() {
            self.room = room;
        }
        if self.recording.is_none() {
            self.recording = recording;
            self.recording.iter_mut().for_each(Recording::pause);
        }
        // Events are never refused.
        let _ = self.handle(Stimulus::TakenOver(heritage), journal.as_deref(), now);
        // Whoever asked for the handoff may have gone.
        let _ = arrived.send(());
    }
}
