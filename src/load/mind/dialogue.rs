//! One session as a machine: events and time go in, events come out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ear::{Ear, Turn};
use super::{Answered, MindPlan, SessionLog};
use crate::load::talk::{Answer, DELTA_MS};
use crate::models::wire::{
    ClientEvent, Committed, Content, ErrorBody, ErrorEvent, Field, Item, ItemEvent, ItemKind,
    ItemTruncated, OutputItem, PartDone, Response, ResponseEvent, ResponseStatus, ServerEvent,
    Session, SessionEvent, SpeechStarted, SpeechStopped, TextDelta, TranscriptDone,
    TranscriptionCompleted,
};

/// What a session is about, apart from its socket.
#[derive(Debug)]
pub(super) struct Dialogue {
    plan: MindPlan,
    answer: Arc<Answer>,
    ear: Ear,
    state: State,
    ends_turns: bool,
    transcribes: bool,
    items: u32,
    responses: u32,
    /// The item of the turn that is being heard.
    turn_item: String,
    log: SessionLog,
    out: VecDeque<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Listening,
    Thinking { until: Instant },
    Speaking { begun: Instant, next: usize },
}

impl Dialogue {
    pub(super) fn new(plan: MindPlan, answer: Arc<Answer>) -> Self {
        let mut new = Self {
            plan,
            answer,
            ear: Ear::default(),
            state: State::Listening,
            ends_turns: true,
            transcribes: false,
            items: 0,
            responses: 0,
            turn_item: String::new(),
            log: SessionLog::default(),
            out: VecDeque::new(),
        };
        new.tell(&ServerEvent::SessionCreated(session()));
        new
    }

    /// Takes what the client says.
    pub(super) fn on_text(&mut self, text: &str, now: Instant) {
        if let Some(sound) = sound_of(text) {
            return self.on_sound(sound, now);
        }
        match ClientEvent::decode(text) {
            Ok(message) => self.on_event(message.event, now),
            Err(error) => tracing::warn!(%error, "the gateway has sent no event"),
        }
    }

    /// When [`Dialogue::on_time`] is to be called.
    pub(super) fn wake(&self) -> Option<Instant> {
        match self.state {
            State::Listening => None,
            State::Thinking { until } => Some(until),
            State::Speaking { begun, next } => Some(begun + self.due(next)),
        }
    }

    /// Time has passed.
    pub(super) fn on_time(&mut self, now: Instant) {
        match self.state {
            State::Thinking { until } if until <= now => self.begin_answer(now),
            State::Speaking { begun, next } if begun + self.due(next) <= now => {
                self.speak_on(begun, next, now);
            }
            State::Listening | State::Thinking { .. } | State::Speaking { .. } => {}
        }
    }

    /// What is to be sent next.
    pub(super) fn pop(&mut self) -> Option<String> {
        self.out.pop_front()
    }

    /// The session is over.
    pub(super) fn into_log(self) -> SessionLog {
        SessionLog { frames: self.ear.frames, ..self.log }
    }

    fn on_sound(&mut self, base64: &str, now: Instant) {
        let turn = self.ear.hear(base64, now).filter(|_| self.ends_turns);
        match turn {
            Some(Turn::Begun(audio_start_ms)) => {
                let item_id = self.new_item();
                self.turn_item.clone_from(&item_id);
                let started = SpeechStarted { audio_start_ms, item_id };
                self.tell(&ServerEvent::SpeechStarted(started));
                self.stop(ResponseStatus::Cancelled);
            }
            Some(Turn::Over(audio_end_ms)) => {
                let item_id = std::mem::take(&mut self.turn_item);
                let stopped = SpeechStopped { audio_end_ms, item_id: item_id.clone() };
                self.tell(&ServerEvent::SpeechStopped(stopped));
                self.take_turn(item_id);
                self.think(now);
            }
            None => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing else asks for anything")]
    fn on_event(&mut self, event: ClientEvent<'_>, now: Instant) {
        match event {
            ClientEvent::SessionUpdate(update) => self.settle(&update.session),
            ClientEvent::Append(append) => self.on_sound(&append.audio, now),
            ClientEvent::Commit(_) => {
                let item_id = self.new_item();
                self.take_turn(item_id);
            }
            ClientEvent::ItemCreate(create) => self.add(*create.item),
            ClientEvent::ItemTruncate(cut) => {
                let cut_at = Duration::from_millis(cut.audio_end_ms);
                self.cut(&cut.item_id, cut_at);
                self.tell(&ServerEvent::ItemTruncated(ItemTruncated {
                    item_id: cut.item_id,
                    content_index: cut.content_index,
                    audio_end_ms: cut.audio_end_ms,
                }));
            }
            ClientEvent::ResponseCreate(_) => self.think(now),
            ClientEvent::ResponseCancel(_) if self.state == State::Listening => {
                let error = ErrorBody {
                    kind: "invalid_request_error".to_owned(),
                    code: Some("response_cancel_not_active".to_owned()),
                    message: "Cancellation failed: no active response found".to_owned(),
                    ..ErrorBody::default()
                };
                self.tell(&ServerEvent::Error(ErrorEvent { error }));
            }
            ClientEvent::ResponseCancel(_) => self.stop(ResponseStatus::Cancelled),
            _ => {}
        }
    }

    fn settle(&mut self, settings: &Session) {
        let instructions = settings.instructions.as_deref().unwrap_or_default();
        self.log.call = self.log.call.or(number_in(instructions));
        let input = settings.audio.as_ref().and_then(|audio| audio.input.as_ref());
        if let Some(input) = input {
            self.ends_turns = !matches!(input.turn_detection, Field::Null);
            self.transcribes = input.transcription.value().is_some();
        }
        self.tell(&ServerEvent::SessionUpdated(session()));
    }

    /// A turn is an item of the conversation.
    fn take_turn(&mut self, item_id: String) {
        let committed = Committed { item_id: item_id.clone(), previous_item_id: None };
        self.tell(&ServerEvent::Committed(committed));
        let sound = Content { kind: "input_audio".to_owned(), ..Content::default() };
        self.add(message(&item_id, "user", Some(sound), "completed"));
        if self.transcribes {
            let words = TranscriptionCompleted {
                item_id,
                transcript: "I have said something.".to_owned(),
                ..TranscriptionCompleted::default()
            };
            self.tell(&ServerEvent::TranscriptionCompleted(words));
        }
    }

    fn add(&mut self, mut item: Item) {
        item.id.get_or_insert_with(|| self.new_item());
        let event = ItemEvent { previous_item_id: None, item: Box::new(item) };
        self.tell(&ServerEvent::ItemAdded(event.clone()));
        self.tell(&ServerEvent::ItemDone(event));
    }

    fn cut(&mut self, item_id: &str, at: Duration) {
        let number = item_id.strip_prefix(ANSWER).and_then(|number| number.parse().ok());
        let answer = number.and_then(|number: usize| self.log.answers.get_mut(number));
        let Some(answer) = answer else {
            return tracing::warn!("the gateway cuts what was never said");
        };
        answer.cut_at = Some(at);
    }

    fn think(&mut self, now: Instant) {
        if self.state == State::Listening {
            let (id, status) = (self.response(), ResponseStatus::InProgress);
            self.tell(&ServerEvent::ResponseCreated(response(id, status)));
            self.state = State::Thinking { until: now + self.plan.think };
        }
    }

    fn begin_answer(&mut self, now: Instant) {
        let item = Box::new(message(&self.item(), "assistant", None, "in_progress"));
        let event = ItemEvent { previous_item_id: None, item: item.clone() };
        let output = OutputItem { response_id: self.response(), output_index: 0, item };
        self.tell(&ServerEvent::OutputItemAdded(output));
        self.tell(&ServerEvent::ItemAdded(event));
        self.tell(&ServerEvent::TranscriptDelta(TextDelta {
            response_id: self.response(),
            item_id: self.item(),
            delta: WORDS.to_owned(),
            ..TextDelta::default()
        }));
        self.speak_on(now, 0, now);
    }

    /// Sends all sound that is due.
    fn speak_on(&mut self, begun: Instant, next: usize, now: Instant) {
        let (response, item) = (self.response(), self.item());
        if next == 0 {
            let (sent, cut_at) = (Duration::ZERO, None);
            self.log.answers.push(Answered { begun, sent, cut_at });
        }
        let due = (next..self.answer.deltas.len()).take_while(|at| begun + self.due(*at) <= now);
        let until = due.last().map_or(next, |last| last + 1);
        for delta in &self.answer.deltas[next..until] {
            self.out.push_back(delta_event(&response, &item, delta));
        }
        self.state = State::Speaking { begun, next: until };
        let is_whole = until == self.answer.deltas.len();
        if let Some(answered) = self.log.answers.last_mut() {
            let sent = u64::try_from(until).unwrap_or(u64::MAX) * DELTA_MS;
            let whole = u64::try_from(self.answer.samples).unwrap_or(u64::MAX) / 24;
            answered.sent = Duration::from_millis(sent.min(whole));
        }
        if is_whole {
            self.stop(ResponseStatus::Completed);
        }
    }

    /// Ends the answer that is thought of or said.
    fn stop(&mut self, status: ResponseStatus) {
        let State::Speaking { .. } = self.state else {
            if matches!(self.state, State::Thinking { .. }) {
                self.tell(&ServerEvent::ResponseDone(response(self.response(), status)));
                self.responses += 1;
            }
            self.state = State::Listening;
            return;
        };
        // The item's number is that of the answer, which has been counted.
        let number = self.log.answers.len() - 1;
        let (response_id, item_id) = (self.response(), format!("{ANSWER}{number}"));
        let done = PartDone {
            response_id: response_id.clone(),
            item_id: item_id.clone(),
            ..PartDone::default()
        };
        self.tell(&ServerEvent::AudioDone(done));
        self.tell(&ServerEvent::TranscriptDone(TranscriptDone {
            response_id: response_id.clone(),
            item_id: item_id.clone(),
            transcript: Some(WORDS.to_owned()),
            ..TranscriptDone::default()
        }));
        let kept = if status == ResponseStatus::Completed { "completed" } else { "incomplete" };
        let said = Content::transcript("output_audio", WORDS);
        let item = Box::new(message(&item_id, "assistant", Some(said), kept));
        let event = ItemEvent { previous_item_id: None, item: item.clone() };
        self.tell(&ServerEvent::ItemDone(event));
        let output = OutputItem { response_id: response_id.clone(), output_index: 0, item };
        self.tell(&ServerEvent::OutputItemDone(output));
        self.tell(&ServerEvent::ResponseDone(response(response_id, status)));
        self.responses += 1;
        self.state = State::Listening;
    }

    /// When a delta is due, from the answer's beginning.
    fn due(&self, delta: usize) -> Duration {
        if self.plan.speed <= 0.0 {
            return Duration::ZERO;
        }
        let ahead = u32::try_from(delta).unwrap_or(u32::MAX);
        Duration::from_millis(DELTA_MS).div_f64(self.plan.speed) * ahead
    }

    /// The answer that is thought of or said.
    fn response(&self) -> String {
        format!("resp_{}", self.responses)
    }

    /// The item of the answer that is thought of or being begun.
    fn item(&self) -> String {
        let said = self.log.answers.len();
        let is_counted = matches!(self.state, State::Speaking { .. });
        format!("{ANSWER}{}", said - usize::from(is_counted))
    }

    fn new_item(&mut self) -> String {
        self.items += 1;
        format!("item_{}", self.items)
    }

    fn tell(&mut self, event: &ServerEvent<'_>) {
        self.out.push_back(event.encode(None));
    }
}

/// The sound in an append event as the gateway writes it, without reading JSON.
fn sound_of(text: &str) -> Option<&str> {
    text.strip_prefix(r#"{"type":"input_audio_buffer.append","audio":""#)?.strip_suffix(r#""}"#)
}

fn delta_event(response: &str, item: &str, base64: &str) -> String {
    [
        r#"{"type":"response.output_audio.delta","response_id":""#,
        response,
        r#"","item_id":""#,
        item,
        r#"","output_index":0,"content_index":0,"delta":""#,
        base64,
        r#""}"#,
    ]
    .concat()
}

/// The number that follows [`CALL_MARK`].
fn number_in(instructions: &str) -> Option<u32> {
    let (_, after) = instructions.split_once(CALL_MARK)?;
    let end = after.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(after.len());
    after[..end].parse().ok()
}

fn session() -> SessionEvent {
    let session = Session { kind: Some("realtime".to_owned()), ..Session::default() };
    SessionEvent { session: Box::new(session) }
}

fn response(id: String, status: ResponseStatus) -> ResponseEvent {
    ResponseEvent { response: Box::new(Response { id, status, ..Response::default() }) }
}

fn message(id: &str, role: &str, part: Option<Content>, status: &str) -> Item {
    Item {
        id: Some(id.to_owned()),
        kind: ItemKind::Message,
        status: Some(status.to_owned()),
        role: Some(role.to_owned()),
        content: Some(part.into_iter().collect()),
        ..Item::default()
    }
}

/// What an agent's instructions name its call by.
pub(in crate::load) const CALL_MARK: &str = "load call ";

/// Items of answers are numbered in their order.
const ANSWER: &str = "answer_";

const WORDS: &str = "This is what I have to say to that.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::wire::pcm_to_base64;
    use crate::sys::clock;

    #[test]
    fn a_turn_is_answered_after_the_time_it_takes_to_think() {
        let mut act = Act::new(0.0);
        act.say(50, 900);
        assert_eq!(act.types(), ["input_audio_buffer.speech_started"]);
        act.say(20, 0);
        assert_eq!(
            act.types(),
            [
                "input_audio_buffer.speech_stopped",
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
                "response.created",
            ]
        );
        let wake = act.dialogue.wake().unwrap();
        assert_eq!(wake, act.now + THINK);
        act.dialogue.on_time(wake);
        let types = act.types();
        let deltas = types.iter().filter(|kind| *kind == "response.output_audio.delta").count();
        assert_eq!((deltas, types.last().unwrap().as_str()), (20, "response.done"));
        assert_eq!(act.dialogue.wake(), None);
        let log = act.dialogue.into_log();
        assert_eq!((log.frames.len(), log.call), (70, Some(17)));
        let sent = Duration::from_secs(2);
        assert_eq!(log.answers, [Answered { begun: wake, sent, cut_at: None }]);
    }

    #[test]
    fn who_speaks_over_an_answer_ends_it_and_the_cut_is_noted() {
        let mut act = Act::new(2.0);
        act.say(50, 900);
        act.say(20, 0);
        let begun = act.dialogue.wake().unwrap();
        act.dialogue.on_time(begun);
        assert_eq!(act.dialogue.wake(), Some(begun + Duration::from_millis(50)));
        act.dialogue.on_time(begun + Duration::from_millis(150));
        act.types();
        act.say(2, 900);
        let types = act.types();
        assert_eq!(types[0], "input_audio_buffer.speech_started");
        assert_eq!(types.last().unwrap(), "response.done");
        act.take(
            r#"{"type":"conversation.item.truncate","item_id":"answer_0",
            "content_index":0,"audio_end_ms":60}"#,
        );
        assert_eq!(act.types(), ["conversation.item.truncated"]);
        let (sent, cut_at) = (Duration::from_millis(400), Some(Duration::from_millis(60)));
        assert_eq!(act.dialogue.into_log().answers, [Answered { begun, sent, cut_at }]);
    }

    #[test]
    fn where_the_gateway_takes_turns_the_model_waits_to_be_asked() {
        let mut act = Act::new(0.0);
        act.take(
            r#"{"type":"session.update","session":{"type":"realtime","audio":{"input":
            {"turn_detection":null}}}}"#,
        );
        act.types();
        act.say(50, 900);
        act.say(50, 0);
        assert_eq!(act.types(), Vec::<String>::new());
        act.take(r#"{"type":"input_audio_buffer.commit"}"#);
        act.take(r#"{"type":"response.create"}"#);
        assert_eq!(act.types().last().unwrap(), "response.created");
        assert_eq!(act.dialogue.wake(), Some(act.now + THINK));
        act.take(r#"{"type":"response.cancel"}"#);
        act.take(r#"{"type":"response.cancel"}"#);
        assert_eq!(act.types(), ["response.done", "error"]);
    }

    #[test]
    fn the_call_is_named_amid_instructions() {
        assert_eq!(number_in("Be kind.\nload call 205. Be brief."), Some(205));
        assert_eq!(number_in("load call 7"), Some(7));
        assert_eq!(number_in("another call"), None);
    }

    struct Act {
        dialogue: Dialogue,
        now: Instant,
    }

    impl Act {
        fn new(speed: f64) -> Self {
            let plan = MindPlan { think: THINK, answer: Duration::from_secs(2), speed };
            let answer = Arc::new(Answer::of(2_000).unwrap());
            let mut act = Self { dialogue: Dialogue::new(plan, answer), now: clock::now() };
            act.take(
                r#"{"type":"session.update","session":{"type":"realtime",
                    "instructions":"load call 17","audio":{"input":{"turn_detection":
                    {"type":"server_vad"}}}}}"#,
            );
            assert_eq!(act.types(), ["session.created", "session.updated"]);
            act
        }

        fn take(&mut self, text: &str) {
            self.dialogue.on_text(text, self.now);
        }

        fn say(&mut self, frames: usize, height: i16) {
            let audio = pcm_to_base64(&[height; 480]);
            for _ in 0..frames {
                let text = format!(r#"{{"type":"input_audio_buffer.append","audio":"{audio}"}}"#);
                self.take(&text);
            }
        }

        fn types(&mut self) -> Vec<String> {
            let events = std::iter::from_fn(|| self.dialogue.pop());
            let kind =
                |text: String| ServerEvent::decode(&text).unwrap().event.type_name().to_owned();
            events.map(kind).collect()
        }
    }

    const THINK: Duration = Duration::from_millis(300);
}
