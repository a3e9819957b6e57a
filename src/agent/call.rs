//! Where an agent is with its call: out, joining, in it, or leaving; each with its deadline.

use std::time::Instant;

use super::command::{Deadline, JoinRequest};
use super::event::{ModelFailure, Participant, RoomFailure};
use super::in_call::InCall;
use super::limits::{Limits, Time};
use super::output::{
    CallStage, CallView, ModelAction, Notification, Output, RoomAction, VoiceStatus,
};
use super::record::RecordEntry;
use super::spec::AgentSpec;
use super::turn::error;
use super::{Outputs, since_ms};
use crate::ids::CallId;

/// A stay in a room.
#[derive(Debug)]
pub(super) enum Call {
    /// In no room.
    Out,
    /// Asked for, not yet in.
    Joining {
        /// The stay to be.
        stay: Stay,
        /// When it has failed.
        until: Instant,
    },
    /// In the room.
    In(Box<InCall>),
    /// Asked to get out, not yet out.
    Leaving {
        /// The stay that was.
        stay: Stay,
        /// What was going on in it, until the last word of what was heard is told.
        call: Option<Box<InCall>>,
        /// Why it ends.
        reason: String,
        /// When it is taken as over.
        until: Instant,
    },
}

/// What names a stay.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stay {
    pub(super) id: CallId,
    pub(super) room_url: String,
    pub(super) since: Instant,
}

impl Stay {
    /// A moment on the call's clock, in milliseconds since the agent was in.
    pub(super) fn at_ms(&self, at: Instant) -> u64 {
        since_ms(self.since, at)
    }
}

impl Call {
    pub(super) fn on_join(
        &mut self,
        request: JoinRequest,
        spec: &AgentSpec,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        let stay =
            Stay { id: request.call.clone(), room_url: request.room_url.clone(), since: time.now };
        outputs.push_back(voice_status(VoiceStatus::Joining, None));
        outputs.push_back(Output::Listen(spec.model.listening()));
        outputs.push_back(Output::Room(RoomAction::Join(request)));
        *self = Self::Joining { stay, until: time.now + time.limits.joining };
    }

    /// The room has let us in.
    pub(super) fn on_joined(
        &mut self,
        participants: Vec<Participant>,
        spec: &AgentSpec,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        let Self::Joining { stay, .. } = self else { return };
        let stay = Stay { since: time.now, ..stay.clone() };
        outputs.push_back(Output::Notify(Notification::RoomJoined {
            call: stay.id.clone(),
            room_url: stay.room_url.clone(),
            participants: participants.clone(),
        }));
        outputs.push_back(voice_status(VoiceStatus::Joined, None));
        let began = RecordEntry::Began {
            room_url: stay.room_url.clone(),
            participants: participants.clone(),
        };
        outputs.push_back(Output::Record { call: stay.id.clone(), entry: began });
        *self = Self::In(Box::new(InCall::new(stay, participants, spec, time, outputs)));
    }

    /// The room does not let us in, or has sent us out.
    pub(super) fn on_failed(
        &mut self,
        failure: &RoomFailure,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        match std::mem::replace(self, Self::Out) {
            Self::Out => {}
            Self::Joining { .. } => {
                outputs.push_back(error(failure.code(), failure.to_string()));
                let reason = Some(failure.code().to_owned());
                outputs.push_back(voice_status(VoiceStatus::Error, reason));
            }
            Self::In(call) => {
                if call.has_mind() {
                    outputs.push_back(Output::Model(ModelAction::Close));
                }
                end(call, failure.to_string(), time.now, outputs);
            }
            Self::Leaving { call: Some(call), reason, .. } => end(call, reason, time.now, outputs),
            Self::Leaving { call: None, reason, .. } => told_out(reason, outputs),
        }
    }

    /// We are out. Without our asking, the room has closed.
    pub(super) fn on_left(&mut self, time: Time<'_>, outputs: &mut Outputs) {
        self.on_failed(&RoomFailure::Closed("left".into()), time, outputs);
    }

    /// Begins to leave; what the call needed is closed at once.
    pub(super) fn leave(&mut self, reason: &str, time: Time<'_>, outputs: &mut Outputs) {
        let (stay, call) = match std::mem::replace(self, Self::Out) {
            Self::Joining { stay, .. } => (stay, None),
            Self::In(mut call) => {
                if call.has_mind() {
                    call.close_mind(outputs);
                }
                (call.stay.clone(), Some(call))
            }
            before @ (Self::Out | Self::Leaving { .. }) => {
                *self = before;
                return;
            }
        };
        outputs.push_back(Output::Room(RoomAction::Leave));
        let until = time.now + time.limits.leaving;
        *self = Self::Leaving { stay, call, reason: reason.to_owned(), until };
    }

    /// Is out at once: for an agent that ends, is silent, and can wait for nobody.
    pub(super) fn leave_at_once(&mut self, reason: &str, now: Instant, outputs: &mut Outputs) {
        match std::mem::replace(self, Self::Out) {
            Self::Out => {}
            Self::Joining { .. } => {
                outputs.push_back(Output::Room(RoomAction::Leave));
                told_out(reason.to_owned(), outputs);
            }
            Self::In(call) => {
                if call.has_mind() {
                    outputs.push_back(Output::Model(ModelAction::Close));
                }
                outputs.push_back(Output::Room(RoomAction::Leave));
                end(call, reason.to_owned(), now, outputs);
            }
            Self::Leaving { call: Some(call), reason, .. } => end(call, reason, now, outputs),
            Self::Leaving { call: None, reason, .. } => told_out(reason, outputs),
        }
    }

    /// Is out, and the call goes on without us: what it is made of is given away.
    pub(super) fn give_away(&mut self, now: Instant, outputs: &mut Outputs) -> Option<Box<InCall>> {
        match std::mem::replace(self, Self::Out) {
            Self::In(mut call) => {
                if call.has_mind() {
                    outputs.push_back(Output::Model(ModelAction::Close));
                }
                call.dialogue.fall_silent(now, outputs);
                told_left(call.stay.clone(), "handed off".to_owned(), outputs);
                Some(call)
            }
            before @ (Self::Out | Self::Joining { .. } | Self::Leaving { .. }) => {
                *self = before;
                None
            }
        }
    }

    /// Is in, where another agent was before.
    pub(super) fn take_over(
        &mut self,
        mut call: Box<InCall>,
        spec: &AgentSpec,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        outputs.push_back(Output::Notify(Notification::RoomJoined {
            call: call.stay.id.clone(),
            room_url: call.stay.room_url.clone(),
            participants: call.participants.clone(),
        }));
        outputs.push_back(voice_status(VoiceStatus::Joined, None));
        outputs.push_back(Output::Listen(spec.model.listening()));
        call.pass_on(spec, time, outputs);
        *self = Self::In(call);
    }

    /// The model cannot be had any more: the clients are told, and the agent leaves.
    pub(super) fn on_model_failed(
        &mut self,
        failure: &ModelFailure,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        if !matches!(self, Self::In(_)) {
            return;
        }
        outputs.push_back(Output::Notify(Notification::TranscriberFatalError {
            code: failure.code(),
            message: failure.to_string(),
        }));
        self.leave(failure.code(), time, outputs);
    }

    pub(super) fn handle_timeout(&mut self, time: Time<'_>, outputs: &mut Outputs) {
        match self {
            Self::Joining { until, .. } if *until <= time.now => {
                outputs.push_back(Output::Room(RoomAction::Leave));
                let failure = RoomFailure::Unreachable("no answer in time".into());
                self.on_failed(&failure, time, outputs);
            }
            Self::Leaving { until, .. } if *until <= time.now => self.on_left(time, outputs),
            Self::In(call) => {
                if let Some(reason) = call.is_forlorn(time) {
                    self.leave(reason, time, outputs);
                } else if let Some(failure) = call.handle_timeout(time, outputs) {
                    self.on_model_failed(&failure, time, outputs);
                }
            }
            Self::Out | Self::Joining { .. } | Self::Leaving { .. } => {}
        }
    }

    pub(super) fn poll_timeout(&self, limits: &Limits) -> Option<Deadline> {
        match self {
            Self::Out => None,
            Self::Joining { until, .. } => Some((*until, "joining")),
            Self::Leaving { until, .. } => Some((*until, "leaving")),
            Self::In(call) => call.poll_timeout(limits),
        }
    }

    pub(super) fn in_call(&mut self) -> Option<&mut InCall> {
        match self {
            Self::In(call) => Some(call),
            Self::Out | Self::Joining { .. } | Self::Leaving { .. } => None,
        }
    }

    /// The call whose sound may still be accounted for: the one we are in, or are leaving.
    pub(super) fn sounding(&mut self) -> Option<&mut InCall> {
        match self {
            Self::In(call) => Some(call),
            Self::Leaving { call, .. } => call.as_deref_mut(),
            Self::Out | Self::Joining { .. } => None,
        }
    }

    pub(super) fn view(&self) -> Option<CallView> {
        let (stay, stage, participants) = match self {
            Self::Out => return None,
            Self::Joining { stay, .. } => (stay, CallStage::Joining, Vec::new()),
            Self::In(call) => (&call.stay, CallStage::InCall, call.participants.clone()),
            Self::Leaving { stay, .. } => (stay, CallStage::Leaving, Vec::new()),
        };
        let Stay { id, room_url, since } = stay.clone();
        Some(CallView { id, room_url, stage, participants, since })
    }
}

/// It is over: the record is closed, and the clients are told.
fn end(mut call: Box<InCall>, reason: String, now: Instant, outputs: &mut Outputs) {
    call.close_record(&reason, now, outputs);
    told_left(call.stay, reason, outputs);
}

/// We are out of a room that we never were in.
fn told_out(reason: String, outputs: &mut Outputs) {
    outputs.push_back(voice_status(VoiceStatus::Left, Some(reason)));
}

fn told_left(stay: Stay, reason: String, outputs: &mut Outputs) {
    told_out(reason.clone(), outputs);
    let Stay { id: call, room_url, .. } = stay;
    outputs.push_back(Output::Notify(Notification::RoomLeft { call, room_url, reason }));
}

const fn voice_status(status: VoiceStatus, reason: Option<String>) -> Output {
    Output::Notify(Notification::VoiceStatus { status, reason })
}
