//! Conversations in argument time, against servers that say what a test has them say.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::agent::{ModelEvent, ResponseOutcome, ToolSpec, TurnDetection};
use crate::ids::{ResponseId, ToolCallId, UtteranceId};
use crate::models::ModelItem;
use crate::models::wire::output_audio_delta;
use crate::sys::clock;

#[path = "losing_tests.rs"]
mod losing;
#[path = "opening_tests.rs"]
mod opening;
#[path = "random_tests.rs"]
mod random;
#[path = "rotating_tests.rs"]
mod rotating;
#[path = "words_tests.rs"]
mod words;

/// A conversation, a clock, and what has come out.
struct Scene {
    conversation: Conversation,
    now: Instant,
    /// Everything for servers, in one order: events, and `{"frames": n}` for sound.
    sent: Vec<(LinkId, Value)>,
    /// The first sample of every frame sent.
    frames: Vec<i16>,
    items: Vec<ModelItem>,
    /// What is done about sockets: `connect 1`, `ping 1`, `close 1`.
    steps: Vec<String>,
    ended: Option<Result<(), ModelFailure>>,
    frames_said: i16,
}

impl Scene {
    fn new() -> Self {
        Self::of(&profile(), &AgentSpec::default(), Medium::Voice)
    }

    fn of(profile: &ModelProfile, spec: &AgentSpec, medium: Medium) -> Self {
        let now = clock::now();
        let wall_clock = WallClock { now, unix_ms: 1_800_000_000_000 };
        let conversation = Conversation::new(profile, spec, medium, wall_clock).unwrap();
        let mut scene = Self {
            conversation,
            now,
            sent: Vec::new(),
            frames: Vec::new(),
            items: Vec::new(),
            steps: Vec::new(),
            ended: None,
            frames_said: 0,
        };
        scene.collect();
        scene
    }

    /// A conversation whose first session stands, and that has told nothing else yet.
    fn standing() -> Self {
        let mut scene = Self::new();
        scene.open(1);
        scene.take_all();
        scene
    }

    /// The server of this link takes our settings.
    fn open(&mut self, link: u32) {
        self.connect(link);
        self.hear(link, r#"{"type":"session.updated","session":{}}"#);
    }

    fn connect(&mut self, link: u32) {
        self.conversation.on_connected(LinkId(link), self.now);
        self.collect();
    }

    fn refuse(&mut self, link: u32, status: u16) {
        let place = "host".to_owned();
        let error = ConnectError::Refused { place, status, retry_after: None };
        self.conversation.on_refused(LinkId(link), &error, self.now);
        self.collect();
    }

    fn hear(&mut self, link: u32, json: &str) {
        self.conversation.handle_text(LinkId(link), json, self.now);
        self.collect();
    }

    fn lose(&mut self, link: u32, code: Option<u16>) {
        self.conversation.on_closed(LinkId(link), code, "gone", self.now);
        self.collect();
    }

    fn act(&mut self, action: ModelAction) {
        self.conversation.handle_action(action, self.now);
        self.collect();
    }

    /// Says so many frames, in their time; each is told by its number.
    fn say(&mut self, frames: i16) {
        for _ in 0..frames {
            self.frames_said += 1;
            self.frame();
            self.wait_ms(20);
        }
    }

    fn frame(&mut self) {
        let frame = Frame24k::new([self.frames_said; 480]);
        self.conversation.handle_frame(&frame, self.now);
        self.collect();
    }

    /// Lets time pass; every link that is asked for a sign of life gives one.
    fn wait_ms(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        let mut turns = 0;
        while let Some(at) = self.conversation.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.conversation.handle_timeout(self.now);
            let before = self.steps.len();
            self.collect();
            for step in self.steps.split_off(before) {
                match step.strip_prefix("ping ") {
                    Some(link) => {
                        let link = LinkId(link.parse().unwrap());
                        self.conversation.on_alive(link, self.now);
                    }
                    None => self.steps.push(step),
                }
            }
            turns += 1;
            assert!(turns < 100_000, "time stands still");
        }
        self.now = until;
    }

    /// As `wait_ms`, and nobody gives a sign of life.
    fn wait_alone_ms(&mut self, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        while let Some(at) = self.conversation.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.conversation.handle_timeout(self.now);
            self.collect();
        }
        self.now = until;
    }

    fn collect(&mut self) {
        while let Some(output) = self.conversation.poll_output() {
            assert_eq!(self.ended, None, "nothing follows the end: {output:?}");
            match output {
                Output::Connect(link) => self.steps.push(format!("connect {}", link.0)),
                Output::Ping(link) => self.steps.push(format!("ping {}", link.0)),
                Output::Close(link) => self.steps.push(format!("close {}", link.0)),
                Output::Send { link, text } => {
                    self.sent.push((link, serde_json::from_str(&text).unwrap()));
                }
                Output::SendFrame { link, frame } => {
                    let frame = *self.conversation.frame(frame).expect("it is kept");
                    self.on_frame(link, &frame);
                }
                Output::Item(item) => self.items.push(item),
                Output::Ended(result) => self.ended = Some(result),
            }
        }
    }

    fn on_frame(&mut self, link: LinkId, frame: &Frame24k) {
        self.frames.push(frame[0]);
        if let Some((_, before)) = self.sent.last_mut().filter(|(to, _)| *to == link)
            && let Some(count) = before["frames"].as_u64()
        {
            *before = json!({ "frames": count + 1 });
        } else {
            self.sent.push((link, json!({ "frames": 1 })));
        }
    }

    fn items(&mut self) -> Vec<ModelItem> {
        std::mem::take(&mut self.items)
    }

    fn steps(&mut self) -> Vec<String> {
        std::mem::take(&mut self.steps)
    }

    fn frames(&mut self) -> Vec<i16> {
        std::mem::take(&mut self.frames)
    }

    /// What was sent on a link, a line each; the links of the rest are forgotten.
    fn sent(&mut self, link: u32) -> Vec<String> {
        let sent = std::mem::take(&mut self.sent);
        let ours = sent.into_iter().filter(|(to, _)| to.0 == link);
        ours.map(|(_, event)| line(&event)).collect()
    }

    fn take_all(&mut self) {
        self.items.clear();
        self.steps.clear();
        self.sent.clear();
        self.frames.clear();
    }

    /// Somebody speaks, and the server takes the turn as over.
    fn turn(&mut self, link: u32, item: &str) {
        self.hear(link, &speech_started(item, self.audio_ms()));
        self.say(25);
        self.hear(link, &item_event("input_audio_buffer.speech_stopped", item));
        self.hear(link, &item_event("input_audio_buffer.committed", item));
    }

    /// The server's clock of the first link: all that was said.
    fn audio_ms(&self) -> u64 {
        u64::try_from(self.frames_said).unwrap() * 20
    }

    /// A question and its answer, all told.
    fn exchange(&mut self, link: u32, number: u32) {
        self.turn(link, &format!("u{number}"));
        self.hear(link, &transcription(&format!("u{number}"), &format!("Question {number}?")));
        let (response, item) = (format!("r{number}"), format!("a{number}"));
        self.hear(link, &created(&response));
        self.hear(link, &audio(&response, &item, 100));
        self.hear(link, &words(&response, &item, &format!("Answer {number}.")));
        self.hear(link, &done(&response, "completed"));
    }
}

/// An event on its way to a server, in short.
fn line(event: &Value) -> String {
    if let Some(frames) = event["frames"].as_u64() {
        return format!("{frames} frames");
    }
    let kind = event["type"].as_str().unwrap_or_default();
    let kind = kind.trim_start_matches("conversation.");
    let item = &event["item"];
    let mut line = kind.to_owned();
    for part in [
        &event["previous_item_id"],
        &event["item_id"],
        &event["audio_end_ms"],
        &item["role"],
        &item["content"][0]["text"],
        &item["name"],
        &item["output"],
        &event["response"]["instructions"],
    ] {
        match part {
            Value::String(text) => line.push_str(&format!(" {text}")),
            Value::Number(number) => line.push_str(&format!(" {number}")),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
        }
    }
    if item["content"][0]["type"] == "input_audio" {
        line.push_str(" sound");
    }
    line
}

fn profile() -> ModelProfile {
    ModelProfile { transcription: Some("any".into()), ..ModelProfile::new("test", "ws://host") }
}

fn speech_started(item: &str, audio_start_ms: u64) -> String {
    format!(
        r#"{{"type":"input_audio_buffer.speech_started","item_id":"{item}",
            "audio_start_ms":{audio_start_ms}}}"#
    )
}

fn item_event(kind: &str, item: &str) -> String {
    format!(r#"{{"type":"{kind}","item_id":"{item}"}}"#)
}

fn transcription(item: &str, transcript: &str) -> String {
    format!(
        r#"{{"type":"conversation.item.input_audio_transcription.completed","item_id":"{item}",
            "content_index":0,"transcript":"{transcript}"}}"#
    )
}

fn created(id: &str) -> String {
    format!(r#"{{"type":"response.created","response":{{"id":"{id}","status":"in_progress"}}}}"#)
}

fn done(id: &str, status: &str) -> String {
    format!(r#"{{"type":"response.done","response":{{"id":"{id}","status":"{status}"}}}}"#)
}

fn audio(response: &str, item: &str, ms: usize) -> String {
    let delta = output_audio_delta(response, item, &vec![1; ms * 24]);
    ServerEvent::AudioDelta(delta).encode(Some("event_1"))
}

fn words(response: &str, item: &str, delta: &str) -> String {
    format!(
        r#"{{"type":"response.output_audio_transcript.delta","response_id":"{response}",
            "item_id":"{item}","delta":"{delta}"}}"#
    )
}

fn call_done(response: &str, call: &str, tool: &str) -> String {
    format!(
        r#"{{"type":"response.output_item.done","response_id":"{response}","item":{{"id":"i_{call}",
            "type":"function_call","status":"completed","call_id":"{call}","name":"{tool}",
            "arguments":"{{}}"}}}}"#
    )
}

fn add_text(text: &str) -> ModelAction {
    ModelAction::AddText { role: Role::System, text: Pii::new(text.to_owned()) }
}

fn respond(instructions: Option<&str>) -> ModelAction {
    ModelAction::Respond { instructions: instructions.map(|text| Pii::new(text.to_owned())) }
}

fn truncate(utterance: &str, end_ms: u64) -> ModelAction {
    ModelAction::Truncate { utterance: UtteranceId::new(utterance), end_ms }
}

fn output(call: &str, text: &str) -> ModelAction {
    ModelAction::ToolOutput { id: ToolCallId::new(call), output: Pii::new(text.to_owned()) }
}

fn event(event: ModelEvent) -> ModelItem {
    ModelItem::Event(event)
}

fn reconnecting() -> ModelItem {
    event(ModelEvent::Reconnecting { reason: "gone".into() })
}

fn words_item(utterance: &str, text: &str, is_final: bool) -> ModelItem {
    let (utterance, text) = (UtteranceId::new(utterance), Pii::new(text.to_owned()));
    event(ModelEvent::Words { utterance, text, is_final })
}

fn transcript_item(utterance: &str, text: &str) -> ModelItem {
    let (utterance, text) = (UtteranceId::new(utterance), Pii::new(text.to_owned()));
    event(ModelEvent::Transcript { utterance, text, is_final: true })
}

fn started_item(id: &str) -> ModelItem {
    event(ModelEvent::ResponseStarted { response: ResponseId::new(id) })
}

fn done_item(id: &str, outcome: ResponseOutcome) -> ModelItem {
    event(ModelEvent::ResponseDone { response: ResponseId::new(id), outcome })
}

fn audio_done(utterance: &str) -> ModelItem {
    ModelItem::AudioDone { utterance: UtteranceId::new(utterance) }
}

fn weather() -> ToolSpec {
    ToolSpec {
        name: "weather".into(),
        description: String::new(),
        parameters_json: "{}".into(),
        timeout: Duration::from_secs(5),
        filler: None,
    }
}
