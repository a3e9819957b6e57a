//! What the world reports to an agent: taken note of, since it has happened.

use super::Agent;
use super::call::Call;
use super::event::{Event, ModelEvent, PlaybackEvent, RoomEvent};
use super::history::Speaker;
use super::in_call::Words;
use super::lifecycle::Step;
use super::limits::Time;
use super::rounds::{Desk, Trigger};
use super::tools::Request;
use super::turn::{Taking, error};
use super::{EdgeKind, Lease, SpeechEdge};

impl Agent {
    pub(super) fn notice(&mut self, event: Event, time: Time<'_>) {
        match event {
            Event::ClientConnected(client) => {
                self.clients.on_connected(client);
                self.step(Step::ClientConnected, "a client has connected");
            }
            Event::ClientDisconnected(client) => {
                self.clients.on_disconnected(&client, time.limits, time.now);
            }
            Event::Room(event) => self.on_room(event, time),
            Event::Model(event) => self.on_model(event, time),
            Event::Speech(edge) => self.on_speech(edge, time),
            Event::Playback(event) => self.on_playback(event, time),
            Event::TakenOver(baggage) => self.take_over(*baggage, time),
            Event::Shutdown => {
                if self.farewell.is_none() {
                    self.lease = Lease::Draining(time.now + time.limits.shutdown_grace);
                }
            }
        }
    }

    fn on_room(&mut self, event: RoomEvent, time: Time<'_>) {
        if matches!(event, RoomEvent::Failed(_) | RoomEvent::Left) {
            // The last entry of a call's record is its end, so its tools end before it.
            self.end_tools_of_call(time.now);
        }
        let outputs = &mut self.outputs;
        match event {
            RoomEvent::Joined { participants } => {
                let was_joining = matches!(self.call, Call::Joining { .. });
                self.call.on_joined(participants, &self.spec, time, outputs);
                if was_joining {
                    self.open_voice();
                }
            }
            RoomEvent::Failed(failure) => self.call.on_failed(&failure, time, outputs),
            RoomEvent::ParticipantJoined(new) => {
                let Some(call) = self.call.in_call() else { return };
                call.on_participant_joined(new, outputs);
                if !call.has_mind() && self.farewell.is_none() {
                    call.open_mind(&self.spec, time, outputs);
                    self.sessions += 1;
                }
            }
            RoomEvent::ParticipantLeft { id, reason } => {
                let Some(call) = self.call.in_call() else { return };
                let is_empty = call.on_participant_left(&id, reason, time, outputs);
                // An empty room costs nothing: the model is opened again when somebody comes.
                // Tools go on; who comes back may still want to know.
                if is_empty && call.has_mind() && call.close_mind(outputs) {
                    self.owe_a_word();
                }
            }
            RoomEvent::Speaking { id, is_speaking } => {
                if let Some(call) = self.call.in_call() {
                    call.on_speaking(&id, is_speaking);
                }
            }
            RoomEvent::Message { id, text } => {
                if let Some(call) = self.call.in_call() {
                    call.on_message(&id, text, outputs);
                }
            }
            // The sound adapts to its lines by itself.
            RoomEvent::Quality { .. } => {}
            RoomEvent::Left => self.call.on_left(time, outputs),
        }
    }

    /// A call begins, with the session that it has asked for.
    pub(super) fn open_voice(&mut self) {
        self.sessions += 1;
        let stay = self.call.in_call().map(|call| call.stay.clone());
        self.voice = stay.map(|stay| (self.sessions, stay));
    }

    fn on_speech(&mut self, edge: SpeechEdge, time: Time<'_>) {
        let Some(call) = self.call.in_call() else { return };
        call.keep_awake(time.now, time.limits);
        let Some(edge) = call.attribute(edge) else { return };
        let edge = &edge;
        call.on_edge(edge, &mut self.outputs);
        if self.farewell.is_none() {
            call.dialogue.on_speech(edge, time, &mut self.outputs);
            call.drop_unfinished(edge.kind, &mut self.outputs);
        } else {
            // Who is falling silent for good is held for nobody.
            call.dialogue.overhear(edge);
        }
        if edge.kind == EdgeKind::Started {
            self.rounds_alone = 0;
        }
    }

    fn on_model(&mut self, event: ModelEvent, time: Time<'_>) {
        if self.call.in_call().is_some_and(|call| !call.has_mind()) {
            // A last word of a session that we have closed.
            return;
        }
        match event {
            ModelEvent::Ready { takes_turns } => self.on_model_ready(takes_turns, time),
            ModelEvent::Failed(failure) => match self.call {
                Call::In(_) => self.call.on_model_failed(&failure, time, &mut self.outputs),
                Call::Out | Call::Joining { .. } | Call::Leaving { .. } => {
                    self.rounds.on_failed(&failure.to_string(), &mut self.outputs);
                }
            },
            ModelEvent::ToolCall { response, id, name, arguments_json } => {
                let may_call = match &self.call {
                    Call::In(call) => call.dialogue.may_call(&response),
                    Call::Out | Call::Joining { .. } | Call::Leaving { .. } => {
                        self.rounds.may_call(&response)
                    }
                };
                if may_call && self.farewell.is_none() {
                    self.rounds.on_tool_call();
                    let request = Request { id, name, arguments_json, session: self.sessions };
                    let declared = &self.spec.tools;
                    let failed = self.tools.on_call(request, declared, time.now, &mut self.outputs);
                    self.resolve(failed, time.now);
                }
            }
            ModelEvent::Reconnecting { reason } => self.on_model_lost(&reason, time),
            ModelEvent::Restored => match self.call.in_call() {
                Some(call) => call.on_model_restored(time),
                None => self.rounds.renew(time.now + time.limits.answer),
            },
            ModelEvent::Complaint { code, message } => {
                let message = format!("{code}: {message}");
                self.outputs.push_back(error("MODEL_COMPLAINT", message));
            }
            ModelEvent::SpeechStarted { .. }
            | ModelEvent::SpeechStopped { .. }
            | ModelEvent::Transcript { .. }
            | ModelEvent::ResponseStarted { .. }
            | ModelEvent::Words { .. }
            | ModelEvent::ResponseDone { .. } => match self.call {
                Call::In(_) => self.on_talk(event, time),
                Call::Out | Call::Joining { .. } | Call::Leaving { .. } => {
                    self.on_thought(event, time);
                }
            },
        }
    }

    /// The model listens: it learns what has been so far.
    fn on_model_ready(&mut self, takes_turns: bool, time: Time<'_>) {
        if let Some(call) = self.call.in_call() {
            let silence = self.spec.model.turn_detection.silence();
            let taking = if takes_turns { Taking::Model } else { Taking::Ours { silence } };
            if call.on_model_ready(taking, time) {
                self.history.give_all(&mut self.outputs);
            }
        } else {
            let (history, outputs) = (&mut self.history, &mut self.outputs);
            self.rounds.on_ready(&mut Desk { history, outputs }, time);
        }
    }

    /// The model's session is lost, and it opens another.
    fn on_model_lost(&mut self, reason: &str, time: Time<'_>) {
        let message = format!("the model's session is being opened anew: {reason}");
        self.outputs.push_back(error("MODEL_RECONNECTING", message));
        match self.call.in_call() {
            Some(call) => call.on_model_lost(time),
            None => {
                self.rounds.renew(time.now + time.limits.model_restoring + time.limits.answer);
            }
        }
    }

    /// What the model does in a call.
    fn on_talk(&mut self, event: ModelEvent, time: Time<'_>) {
        let Some(call) = self.call.in_call() else { return };
        call.keep_awake(time.now, time.limits);
        let outputs = &mut self.outputs;
        match event {
            ModelEvent::SpeechStarted { utterance, interrupts } => {
                call.on_heard(&utterance, interrupts, time, outputs);
                self.rounds_alone = 0;
            }
            ModelEvent::SpeechStopped { utterance } => call.on_turn_over(&utterance, time),
            ModelEvent::Transcript { utterance, text, is_final } => {
                let words = Words { utterance, text, is_final };
                if let Some((name, text)) = call.on_transcript(words, time, outputs) {
                    self.history.note(Speaker::Participant(name), text);
                }
            }
            ModelEvent::ResponseStarted { response } => {
                if self.muted {
                    call.dialogue.refuse(response, time, outputs);
                } else {
                    call.on_response_started(response, time, outputs);
                }
            }
            ModelEvent::Words { utterance, text, is_final } => {
                call.dialogue.on_words(utterance, text, is_final, outputs);
            }
            ModelEvent::ResponseDone { response, outcome } => {
                call.dialogue.on_response_done(&response, &outcome, time, outputs);
            }
            ModelEvent::Ready { .. }
            | ModelEvent::Reconnecting { .. }
            | ModelEvent::Restored
            | ModelEvent::Failed(_)
            | ModelEvent::ToolCall { .. }
            | ModelEvent::Complaint { .. } => {}
        }
    }

    /// What the model does outside of calls.
    fn on_thought(&mut self, event: ModelEvent, time: Time<'_>) {
        let (history, outputs) = (&mut self.history, &mut self.outputs);
        let mut desk = Desk { history, outputs };
        match event {
            ModelEvent::ResponseStarted { response } => {
                self.rounds.on_response_started(response, time);
            }
            ModelEvent::Words { utterance, text, is_final } => {
                self.rounds.on_words((utterance, text, is_final), &mut desk, time);
            }
            ModelEvent::ResponseDone { response, outcome } => {
                self.rounds.on_response_done(&response, &outcome, &mut desk, time);
            }
            ModelEvent::SpeechStarted { .. }
            | ModelEvent::SpeechStopped { .. }
            | ModelEvent::Transcript { .. }
            | ModelEvent::Ready { .. }
            | ModelEvent::Reconnecting { .. }
            | ModelEvent::Restored
            | ModelEvent::Failed(_)
            | ModelEvent::ToolCall { .. }
            | ModelEvent::Complaint { .. } => {}
        }
    }

    fn on_playback(&mut self, event: PlaybackEvent, time: Time<'_>) {
        let is_silent = event == PlaybackEvent::Silent;
        if let Some(call) = self.call.sounding() {
            call.keep_awake(time.now, time.limits);
            if let Some(text) = call.on_playback(event, time, &mut self.outputs) {
                self.history.note(Speaker::Agent, text);
            }
        }
        if is_silent && self.farewell.is_some() {
            self.finish(time);
        }
    }

    /// Lets the model speak as soon as it listens.
    pub(super) fn owe_a_word(&mut self) {
        self.owed = Some(Trigger::Outside);
    }
}
