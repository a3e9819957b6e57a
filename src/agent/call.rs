//! Where an agent is with its call: out, joining, in it, or leaving; each with its deadline.

use std::time::Instant;

use super::command::{Deadline, JoinRequest};
use super::event::{ModelFailure, Participant, PlaybackEvent, RoomFailure, SpeechEdge};
use super::limits::Limits;
use super::output::{
    CallStage, CallView, Medium, ModelAction, Notification, Output, RoomAction, VoiceStatus,
};
use super::record::RecordEntry;
use super::recorder::Recorder;
use super::spec::AgentSpec;
use super::transcript::Line;
use super::turn::{Dialogue, Time, error};
use super::{Outputs, since_ms};
use crate::ids::{CallId, ParticipantId, ResponseId, UtteranceId};
use crate::privacy::Pii;

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

/// Everything that is only there while in a room. It is dropped as a whole.
#[derive(Debug, PartialEq)]
pub(super) struct InCall {
    pub(super) stay: Stay,
    pub(super) participants: Vec<Participant>,
    pub(super) dialogue: Dialogue,
    recorder: Recorder,
    mind: Mind,
    idle_at: Instant,
}

/// Words that the model has heard.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) utterance: UtteranceId,
    pub(super) text: Pii<String>,
    pub(super) is_final: bool,
}

/// Whether the model listens.
#[derive(Debug, PartialEq)]
enum Mind {
    /// Asked for.
    Opening { until: Instant },
    /// It listens.
    Ready,
}

impl Call {
    pub(super) fn on_join(&mut self, request: JoinRequest, time: Time<'_>, outputs: &mut Outputs) {
        let stay =
            Stay { id: request.call.clone(), room_url: request.room_url.clone(), since: time.now };
        outputs.push_back(voice_status(VoiceStatus::Joining, None));
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
        outputs.push_back(Output::Model(ModelAction::Open {
            spec: Box::new(spec.clone()),
            medium: Medium::Voice,
        }));
        *self = Self::In(Box::new(InCall::new(stay, participants, time)));
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
                outputs.push_back(Output::Model(ModelAction::Close));
                call.end(failure.to_string(), time.now, outputs);
            }
            Self::Leaving { call: Some(call), reason, .. } => call.end(reason, time.now, outputs),
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
            Self::In(call) => {
                outputs.push_back(Output::FlushPlayback);
                outputs.push_back(Output::Model(ModelAction::Close));
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
                outputs.push_back(Output::Model(ModelAction::Close));
                outputs.push_back(Output::Room(RoomAction::Leave));
                call.end(reason.to_owned(), now, outputs);
            }
            Self::Leaving { call: Some(call), reason, .. } => call.end(reason, now, outputs),
            Self::Leaving { call: None, reason, .. } => told_out(reason, outputs),
        }
    }

    /// Is out, and the call goes on without us: what it is made of is given away.
    pub(super) fn give_away(&mut self, now: Instant, outputs: &mut Outputs) -> Option<Box<InCall>> {
        match std::mem::replace(self, Self::Out) {
            Self::In(mut call) => {
                outputs.push_back(Output::Model(ModelAction::Close));
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
        call.dialogue = Dialogue::new();
        call.mind = Mind::Opening { until: time.now + time.limits.model_opening };
        call.keep_awake(time.now, time.limits);
        outputs.push_back(Output::Notify(Notification::RoomJoined {
            call: call.stay.id.clone(),
            room_url: call.stay.room_url.clone(),
            participants: call.participants.clone(),
        }));
        outputs.push_back(voice_status(VoiceStatus::Joined, None));
        outputs.push_back(Output::Model(ModelAction::Open {
            spec: Box::new(spec.clone()),
            medium: Medium::Voice,
        }));
        *self = Self::In(call);
    }

    pub(super) fn on_participant_joined(&mut self, new: Participant, outputs: &mut Outputs) {
        let Self::In(call) = self else { return };
        if call.participants.iter().any(|known| known.id == new.id) {
            return;
        }
        call.participants.push(new.clone());
        let entry = RecordEntry::Participant(new.clone());
        outputs.push_back(Output::Record { call: call.stay.id.clone(), entry });
        outputs.push_back(Output::Notify(Notification::ParticipantJoined(new)));
    }

    pub(super) fn on_participant_left(
        &mut self,
        id: &ParticipantId,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        let Self::In(call) = self else { return };
        let Some(at) = call.participants.iter().position(|known| known.id == *id) else { return };
        call.dialogue.on_participant_left(id, time);
        let gone = call.participants.remove(at);
        outputs.push_back(Output::Notify(Notification::ParticipantLeft(gone)));
    }

    /// The call, if its model listens.
    pub(super) fn ready(&mut self) -> Option<&mut InCall> {
        self.in_call().filter(|call| matches!(call.mind, Mind::Ready))
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
            Self::In(call) if call.idle_at <= time.now => self.leave("idle", time, outputs),
            Self::In(call) => match call.mind {
                Mind::Opening { until } if until <= time.now => {
                    let failure = ModelFailure::Unavailable("no session in time".into());
                    self.on_model_failed(&failure, time, outputs);
                }
                Mind::Opening { .. } | Mind::Ready => call.dialogue.handle_timeout(time.now),
            },
            Self::Out | Self::Joining { .. } | Self::Leaving { .. } => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        match self {
            Self::Out => None,
            Self::Joining { until, .. } => Some((*until, "joining")),
            Self::Leaving { until, .. } => Some((*until, "leaving")),
            Self::In(call) => call.poll_timeout(),
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

impl InCall {
    fn new(stay: Stay, participants: Vec<Participant>, time: Time<'_>) -> Self {
        Self {
            stay,
            participants,
            dialogue: Dialogue::new(),
            recorder: Recorder::default(),
            mind: Mind::Opening { until: time.now + time.limits.model_opening },
            idle_at: time.now + time.limits.idle,
        }
    }

    /// The model listens. Whether this call was waiting for it.
    pub(super) fn on_model_ready(&mut self) -> bool {
        matches!(std::mem::replace(&mut self.mind, Mind::Ready), Mind::Opening { .. })
    }

    /// Somebody has said or done something.
    pub(super) fn keep_awake(&mut self, now: Instant, limits: &Limits) {
        self.idle_at = now + limits.idle;
    }

    fn at_ms(&self, at: Instant) -> u64 {
        self.stay.at_ms(at)
    }

    /// What somebody said. Only the final words go on record; they are returned with the name.
    pub(super) fn on_transcript(
        &mut self,
        heard: Heard,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) -> Option<(String, Pii<String>)> {
        let Heard { utterance, text, is_final } = heard;
        let known = self.dialogue.speaker_of(&utterance);
        let first = || self.participants.first().map(|someone| &someone.id);
        let participant = known.or_else(first)?.clone();
        let mut said = None;
        if is_final {
            let at_ms = self.at_ms(time.now);
            self.recorder.on_transcript(at_ms);
            let speaker = self.participants.iter().find(|one| one.id == participant);
            said = Some((speaker.map(|one| one.name.clone()).unwrap_or_default(), text.clone()));
            let line = Line { participant: Some(participant.clone()), text: text.clone(), at_ms };
            self.put_down(line, outputs);
        }
        let heard = Notification::Transcript { participant, utterance, text, is_final };
        outputs.push_back(Output::Notify(heard));
        said
    }

    pub(super) fn on_speech(&mut self, edge: &SpeechEdge, time: Time<'_>, outputs: &mut Outputs) {
        let (participant, at_ms) = (edge.participant.clone(), self.at_ms(edge.at));
        self.recorder.on_speech(&participant, edge.kind, at_ms);
        outputs.push_back(Output::Notify(match edge.kind {
            super::EdgeKind::Started => Notification::VadStart { participant, at_ms },
            super::EdgeKind::Stopped => Notification::VadEnd { participant, at_ms },
        }));
        self.dialogue.on_speech(edge, time, outputs);
    }

    pub(super) fn on_turn_over(&mut self, utterance: UtteranceId, time: Time<'_>) {
        self.recorder.on_turn_over(self.at_ms(time.now));
        self.dialogue.on_turn_over(utterance, time);
    }

    pub(super) fn on_response_started(&mut self, response: ResponseId, time: Time<'_>) {
        self.recorder.on_answer(self.at_ms(time.now));
        self.dialogue.on_response_started(response, time);
    }

    /// What was heard of the agent; returns the words that were, when an utterance is over.
    pub(super) fn on_playback(
        &mut self,
        event: PlaybackEvent,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) -> Option<Pii<String>> {
        let at_ms = self.at_ms(time.now);
        match &event {
            PlaybackEvent::Started { .. } => self.recorder.on_sound(at_ms),
            PlaybackEvent::Finished { heard_ms, .. } => {
                self.recorder.on_heard(*heard_ms, false, at_ms);
            }
            PlaybackEvent::Flushed { heard_ms, .. } => {
                self.recorder.on_heard(*heard_ms, true, at_ms);
            }
            PlaybackEvent::Silent => {}
        }
        let text = self.dialogue.on_playback(event, time, outputs);
        if let Some(text) = &text {
            self.put_down(Line { participant: None, text: text.clone(), at_ms }, outputs);
        }
        if !self.dialogue.is_answering() {
            let answered = self.recorder.take_answered();
            outputs.extend(answered.map(|turn| self.on_record(RecordEntry::Turn(turn))));
        }
        text
    }

    /// An entry for the record of this call.
    pub(super) fn on_record(&self, entry: RecordEntry) -> Output {
        Output::Record { call: self.stay.id.clone(), entry }
    }

    fn put_down(&self, line: Line, outputs: &mut Outputs) {
        if !line.text.expose().trim().is_empty() {
            outputs.push_back(self.on_record(RecordEntry::Line(line)));
        }
    }

    /// It is over: the record is closed, and the clients are told.
    fn end(mut self: Box<Self>, reason: String, now: Instant, outputs: &mut Outputs) {
        self.dialogue.fall_silent(now, outputs);
        for turn in self.recorder.take_all() {
            outputs.push_back(self.on_record(RecordEntry::Turn(turn)));
        }
        let at_ms = self.at_ms(now);
        outputs.push_back(self.on_record(RecordEntry::Ended { reason: reason.clone(), at_ms }));
        told_left(self.stay, reason, outputs);
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let opening = match self.mind {
            Mind::Opening { until } => Some((until, "model session")),
            Mind::Ready => None,
        };
        [Some((self.idle_at, "idle call")), opening, self.dialogue.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }
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
