//! What there is only while in a room: who is there, the mind that listens, and its conversation.

use std::time::Instant;

use super::Outputs;
use super::answers::say;
use super::call::Stay;
use super::command::{Deadline, Rejection};
use super::event::{EdgeKind, ModelFailure, Participant, PlaybackEvent, SpeechEdge};
use super::heard::Heard;
use super::limits::{Limits, Time};
use super::mixed::Mixed;
use super::output::{Medium, ModelAction, Notification, Output};
use super::record::RecordEntry;
use super::recorder::Recorder;
use super::spec::AgentSpec;
use super::transcript::Line;
use super::turn::{Dialogue, Taking};
use crate::ids::{ParticipantId, ResponseId, UtteranceId};
use crate::privacy::Pii;

/// Everything that is only there while in a room. It is dropped as a whole.
#[derive(Debug, PartialEq)]
pub(super) struct InCall {
    pub(super) stay: Stay,
    pub(super) participants: Vec<Participant>,
    pub(super) dialogue: Dialogue,
    heard: Heard,
    mixed: Mixed,
    recorder: Recorder,
    mind: Mind,
    /// What is to be said first; not after somebody else has spoken.
    greeting: Option<String>,
    /// What a client wants to be said, until there is a model to say it.
    sayings: Vec<Pii<String>>,
    idle_at: Instant,
    /// Since when nobody else is there.
    alone_since: Option<Instant>,
}

/// Words that the model has heard.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) utterance: UtteranceId,
    pub(super) text: Pii<String>,
    pub(super) is_final: bool,
}

/// Whether the model listens.
#[derive(Debug, PartialEq)]
enum Mind {
    /// There is no session: nobody is there.
    Closed,
    /// Asked for.
    Opening { until: Instant },
    /// It listens.
    Ready,
    /// It has lost its session, and opens another.
    Restoring { until: Instant },
}

impl InCall {
    /// A stay that begins; its model is opened at once, whoever is there.
    pub(super) fn new(
        stay: Stay,
        participants: Vec<Participant>,
        spec: &AgentSpec,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) -> Self {
        let alone_since = participants.is_empty().then_some(time.now);
        let mut call = Self {
            stay,
            participants,
            dialogue: Dialogue::new(),
            heard: Heard::default(),
            mixed: Mixed::default(),
            recorder: Recorder::default(),
            mind: Mind::Closed,
            greeting: spec.model.greeting.clone(),
            sayings: Vec::new(),
            idle_at: time.now + time.limits.idle,
            alone_since,
        };
        call.open_mind(spec, time, outputs);
        call
    }

    /// The stay goes on with another agent, and another model if somebody is there to hear it.
    pub(super) fn pass_on(&mut self, spec: &AgentSpec, time: Time<'_>, outputs: &mut Outputs) {
        self.dialogue.pass_on();
        self.greeting = spec.model.greeting.clone().filter(|_| self.dialogue.is_quiet());
        self.sayings.clear();
        self.mind = Mind::Closed;
        self.alone_since = self.participants.is_empty().then_some(time.now);
        if !self.participants.is_empty() {
            self.open_mind(spec, time, outputs);
        }
        self.keep_awake(time.now, time.limits);
    }

    /// Opens a session.
    pub(super) fn open_mind(&mut self, spec: &AgentSpec, time: Time<'_>, outputs: &mut Outputs) {
        let (spec, medium) = (Box::new(spec.clone()), Medium::Voice);
        outputs.push_back(Output::Model(ModelAction::Open { spec, medium }));
        self.mind = Mind::Opening { until: time.now + time.limits.model_opening };
    }

    /// Nobody is left to be heard, or to hear. Whether something is still to be answered.
    pub(super) fn close_mind(&mut self, outputs: &mut Outputs) -> bool {
        let is_owed = self.dialogue.forsake(outputs);
        outputs.push_back(Output::Model(ModelAction::Close));
        self.mind = Mind::Closed;
        is_owed
    }

    /// Whether a session was asked for, and is not closed.
    pub(super) fn has_mind(&self) -> bool {
        self.mind != Mind::Closed
    }

    /// Whether the model hears what it is told.
    pub(super) fn is_listening(&self) -> bool {
        matches!(self.mind, Mind::Ready | Mind::Restoring { .. })
    }

    /// The model listens. Whether this call was waiting for it.
    pub(super) fn on_model_ready(&mut self, taking: Taking, time: Time<'_>) -> bool {
        if !matches!(self.mind, Mind::Opening { .. }) {
            return false;
        }
        self.mind = Mind::Ready;
        self.dialogue.on_ready(taking, time);
        true
    }

    /// The model has lost its session: whoever waits for it waits longer.
    pub(super) fn on_model_lost(&mut self, time: Time<'_>) {
        if self.is_listening() {
            let until = time.now + time.limits.model_restoring;
            self.mind = Mind::Restoring { until };
            self.dialogue.renew(until + time.limits.answer);
        }
    }

    /// The model listens again.
    pub(super) fn on_model_restored(&mut self, time: Time<'_>) {
        if matches!(self.mind, Mind::Restoring { .. }) {
            self.mind = Mind::Ready;
            self.dialogue.renew(time.now + time.limits.answer);
        }
    }

    /// Somebody speaks while the model has no session: the rest of an answer that was lost with the
    /// last one is not wanted, for they are to be answered.
    pub(super) fn drop_unfinished(&self, edge: EdgeKind, outputs: &mut Outputs) {
        let is_lost = matches!(self.mind, Mind::Restoring { .. });
        if is_lost && edge == EdgeKind::Sustained {
            outputs.push_back(Output::Model(ModelAction::Cancel));
        }
    }

    /// Says this as soon as the model can.
    pub(super) fn say(
        &mut self,
        text: &Pii<String>,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) -> Result<(), Rejection> {
        let words = say(text.expose());
        if self.is_listening() {
            self.dialogue.respond(Some(words), time, outputs);
        } else if self.sayings.len() < SAYINGS_CAPACITY {
            self.sayings.push(words);
        } else {
            return Err(Rejection::QueueFull);
        }
        Ok(())
    }

    /// Says what had to wait for the model; and the greeting, once, into a silence that somebody
    /// hears.
    pub(super) fn speak_up(&mut self, may_greet: bool, time: Time<'_>, outputs: &mut Outputs) {
        if may_greet
            && !self.participants.is_empty()
            && self.dialogue.is_quiet()
            && let Some(greeting) = self.greeting.take()
        {
            self.dialogue.respond(Some(say(&greeting)), time, outputs);
        }
        for words in self.sayings.drain(..) {
            self.dialogue.respond(Some(words), time, outputs);
        }
    }

    /// Falls silent, on somebody's word; what was still to be said is not.
    pub(super) fn interrupt(&mut self, time: Time<'_>, outputs: &mut Outputs) {
        self.sayings.clear();
        if !self.participants.is_empty() {
            self.greeting = None;
        }
        self.dialogue.interrupt(time, outputs);
    }

    /// Whether nobody speaks, and somebody would hear it if the agent did.
    pub(super) fn is_quiet(&self) -> bool {
        self.is_listening() && !self.participants.is_empty() && self.dialogue.is_quiet()
    }

    /// Somebody has said or done something.
    pub(super) fn keep_awake(&mut self, now: Instant, limits: &Limits) {
        self.idle_at = now + limits.idle;
    }

    /// Why the agent is of no use here any more, if it is not.
    pub(super) fn is_forlorn(&self, time: Time<'_>) -> Option<&'static str> {
        if self.alone_at(time.limits).is_some_and(|at| at <= time.now) {
            return Some("alone");
        }
        (self.idle_at <= time.now).then_some("idle")
    }

    fn alone_at(&self, limits: &Limits) -> Option<Instant> {
        self.alone_since.map(|since| since + limits.alone)
    }

    /// What somebody said. Only the final words go on record; they are returned with the name.
    pub(super) fn on_transcript(
        &mut self,
        words: Words,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) -> Option<(String, Pii<String>)> {
        let Words { utterance, text, is_final } = words;
        self.dialogue.on_their_words(&utterance, text.expose(), time, outputs);
        if !self.heard.on_words(&utterance, is_final, time.now) {
            return None;
        }
        let saying = self.heard.saying(&utterance, time.now);
        let since = saying.as_ref().map_or(time.now, |saying| saying.since);
        let first = || self.participants.first().map(|someone| someone.id.clone());
        let participant = saying.map(|saying| saying.who).or_else(first)?;
        let mut said = None;
        if is_final {
            self.recorder.on_transcript(self.at_ms(time.now));
            let speaker = self.participants.iter().find(|one| one.id == participant);
            said = Some((speaker.map(|one| one.name.clone()).unwrap_or_default(), text.clone()));
            let (participant, text) = (Some(participant.clone()), text.clone());
            self.put_down(Line { participant, text, at_ms: self.at_ms(since) }, outputs);
        }
        let told = Notification::Transcript { participant, utterance, text, is_final };
        outputs.push_back(Output::Notify(told));
        said
    }

    /// Somebody has begun to speak in the room's mix, or has ended.
    pub(super) fn on_speaking(&mut self, id: &ParticipantId, is_speaking: bool) {
        if let Some(unnamed) = self.mixed.on_speaking(id, is_speaking) {
            self.heard.rename_last(&unnamed, id);
        }
    }

    /// Whose speech it is that begins or ends. `None` if it has ended before.
    pub(super) fn attribute(&mut self, edge: SpeechEdge) -> Option<SpeechEdge> {
        self.mixed.attribute(edge, &self.participants)
    }

    /// Tells of speech that begins or ends, by our ear.
    pub(super) fn on_edge(&mut self, edge: &SpeechEdge, outputs: &mut Outputs) {
        let (participant, at_ms) = (edge.participant.clone(), self.at_ms(edge.at));
        self.heard.on_speech(edge);
        self.recorder.on_speech(&participant, edge.kind, at_ms);
        outputs.extend(match edge.kind {
            EdgeKind::Started => {
                Some(Output::Notify(Notification::VadStart { participant, at_ms }))
            }
            EdgeKind::Stopped => Some(Output::Notify(Notification::VadEnd { participant, at_ms })),
            EdgeKind::Sustained => {
                self.greeting = None;
                None
            }
        });
    }

    /// The model hears somebody begin to speak.
    pub(super) fn on_heard(
        &mut self,
        utterance: &UtteranceId,
        interrupts: bool,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        self.greeting = None;
        self.heard.on_started(utterance, time.now);
        self.dialogue.on_heard(utterance, interrupts, time, outputs);
    }

    pub(super) fn on_turn_over(&mut self, utterance: &UtteranceId, time: Time<'_>) {
        self.greeting = None;
        self.heard.on_stopped(utterance, time.now);
        if self.dialogue.on_turn_over(utterance, time) {
            self.recorder.on_turn_over(false, self.at_ms(time.now));
        }
    }

    pub(super) fn on_response_started(
        &mut self,
        response: ResponseId,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) {
        self.recorder.on_answer(self.at_ms(time.now));
        self.dialogue.on_response_started(response, time, outputs);
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
        let said = self.dialogue.on_playback(event, time, outputs);
        if let Some(said) = &said {
            let (text, at_ms) = (said.text.clone(), self.at_ms(said.since));
            self.put_down(Line { participant: None, text, at_ms }, outputs);
        }
        if !self.dialogue.is_answering() {
            let answered = self.recorder.take_answered();
            outputs.extend(answered.map(|turn| self.on_record(RecordEntry::Turn(turn))));
        }
        said.map(|said| said.text)
    }

    /// Someone is in; told once of each.
    pub(super) fn on_participant_joined(&mut self, new: Participant, outputs: &mut Outputs) {
        if self.participants.iter().any(|known| known.id == new.id) {
            return;
        }
        self.alone_since = None;
        self.participants.push(new.clone());
        outputs.push_back(self.on_record(RecordEntry::Participant(new.clone())));
        outputs.push_back(Output::Notify(Notification::ParticipantJoined(new)));
    }

    /// Someone in the room has written to all.
    pub(super) fn on_message(&self, id: &ParticipantId, text: Pii<String>, outputs: &mut Outputs) {
        let sender = self.participants.iter().find(|known| known.id == *id).cloned();
        let told = sender.map(|participant| Notification::RoomMessage { participant, text });
        outputs.extend(told.map(Output::Notify));
    }

    /// Someone is out. Whether nobody is left.
    pub(super) fn on_participant_left(
        &mut self,
        id: &ParticipantId,
        reason: String,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) -> bool {
        let known = self.participants.iter().position(|known| known.id == *id);
        let Some(at) = known else { return false };
        let at_ms = self.at_ms(time.now);
        if self.dialogue.floor().speaks(id) {
            let ended = Notification::VadEnd { participant: id.clone(), at_ms };
            outputs.push_back(Output::Notify(ended));
        }
        self.mixed.on_left(id);
        self.heard.on_silence(id, time.now);
        self.recorder.on_silence(id, at_ms);
        self.dialogue.on_left(id, time, outputs);
        let participant = self.participants.remove(at);
        let left = Notification::ParticipantLeft { participant, reason };
        outputs.push_back(Output::Notify(left));
        self.alone_since = self.participants.is_empty().then_some(time.now);
        self.participants.is_empty()
    }

    /// An entry for the record of this call.
    pub(super) fn on_record(&self, entry: RecordEntry) -> Output {
        Output::Record { call: self.stay.id.clone(), entry }
    }

    /// All turns of the record, when the call ends.
    pub(super) fn close_record(&mut self, reason: &str, now: Instant, outputs: &mut Outputs) {
        self.dialogue.fall_silent(now, outputs);
        for turn in self.recorder.take_all() {
            outputs.push_back(self.on_record(RecordEntry::Turn(turn)));
        }
        let ended = RecordEntry::Ended { reason: reason.to_owned(), at_ms: self.at_ms(now) };
        outputs.push_back(self.on_record(ended));
    }

    /// Lets nothing wait for too long. Returns why the model cannot be had, if it took too long.
    pub(super) fn handle_timeout(
        &mut self,
        time: Time<'_>,
        outputs: &mut Outputs,
    ) -> Option<ModelFailure> {
        match self.mind {
            Mind::Opening { until } if until <= time.now => {
                Some(ModelFailure::Unavailable("no session in time".into()))
            }
            Mind::Restoring { until } if until <= time.now => {
                Some(ModelFailure::Lost("no other session in time".into()))
            }
            Mind::Closed | Mind::Opening { .. } | Mind::Ready | Mind::Restoring { .. } => {
                if self.dialogue.handle_timeout(time, outputs) {
                    self.heard.on_turn_taken(time.now);
                    self.recorder.on_turn_over(true, self.at_ms(time.now));
                }
                None
            }
        }
    }

    pub(super) fn poll_timeout(&self, limits: &Limits) -> Option<Deadline> {
        let alone = self.alone_at(limits).map(|at| (at, "alone in the room"));
        let mind = match self.mind {
            Mind::Opening { until } | Mind::Restoring { until } => Some((until, "model session")),
            Mind::Closed | Mind::Ready => None,
        };
        let all = [Some((self.idle_at, "idle call")), alone, mind, self.dialogue.poll_timeout()];
        all.into_iter().flatten().min()
    }

    fn put_down(&self, line: Line, outputs: &mut Outputs) {
        if !line.text.expose().trim().is_empty() {
            outputs.push_back(self.on_record(RecordEntry::Line(line)));
        }
    }

    fn at_ms(&self, at: Instant) -> u64 {
        self.stay.at_ms(at)
    }
}

/// Words that may wait for a model. All of them are asked for at once, so they are few.
///
/// When full: whoever wants more of them said is refused.
const SAYINGS_CAPACITY: usize = 4;
