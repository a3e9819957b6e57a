//! One answer of the server in memory: its script as steps in time, and each step as an event.

use std::time::Duration;

use serde_json::{Value, json};

use super::script::{Answer, Part};
use crate::models::wire::{ServerEvent, output_audio_delta};

/// An answer that is being given.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) response: String,
    metadata: Value,
}

/// What is said next in an answer.
#[derive(Debug)]
pub(super) enum Step {
    /// An item begins, of this kind.
    Item { id: String, item: Value },
    /// So much sound of an item, from there on in the voice.
    Sound { item: String, at_ms: u64, ms: u64, is_silent: bool },
    /// More words of an item.
    Words { item: String, delta: String, is_spoken: bool },
    /// An event of the answer that needs no more than its name.
    Part(Value),
    /// The answer ends like this.
    Done { status: &'static str, details: Value },
}

impl Answer {
    /// An answer that says nothing.
    pub(super) const fn silence() -> Self {
        Self { after: Duration::from_millis(300), speed: 5, parts: Vec::new() }
    }
}

/// An answer's steps, each with its time after the answer's beginning.
pub(super) fn steps(
    answer: &Answer,
    next_item: &mut impl FnMut() -> String,
    next_call: &mut impl FnMut() -> String,
) -> Vec<(Duration, Step)> {
    let mut steps = Vec::new();
    let mut at = answer.after;
    let (mut status, mut details) = ("completed", Value::Null);
    for part in &answer.parts {
        match part {
            Part::Audio { lasts, silence, text } => {
                let speech = Speech { item: next_item(), lasts: *lasts, silence: *silence, text };
                at = speech.steps(at, answer.speed, &mut steps);
            }
            Part::Text(text) => written(&next_item(), text, at, &mut steps),
            Part::Tool { name, arguments } => {
                called(&next_item(), &next_call(), (name, arguments), at, &mut steps);
            }
            Part::Fail(code) => {
                let error = json!({"type": "server_error", "code": code, "message": "it failed"});
                (status, details) = ("failed", json!({"type": "failed", "error": error}));
            }
            Part::Incomplete(reason) => {
                details = json!({"type": "incomplete", "reason": reason});
                status = "incomplete";
            }
            Part::Hang => return steps,
        }
    }
    steps.push((at, Step::Done { status, details }));
    steps
}

/// A stretch of speech.
struct Speech<'a> {
    item: String,
    lasts: Duration,
    silence: Duration,
    text: &'a str,
}

impl Speech<'_> {
    /// Sound in deltas, with its words beside it; when the last of them has come.
    fn steps(self, from: Duration, speed: u32, steps: &mut Vec<(Duration, Step)>) -> Duration {
        let Self { item, lasts, silence, text } = self;
        steps.push((from, Step::Item { id: item.clone(), item: message(&item) }));
        let (total_ms, silence_ms) = (millis(lasts), millis(silence));
        let words: Vec<&str> = text.split_inclusive(' ').collect();
        let (mut at, mut sent_ms, mut said) = (from, 0, 0);
        while sent_ms < total_ms {
            let ms = DELTA_MS.min(total_ms - sent_ms);
            let due = words.len() as u64 * (sent_ms + ms) / total_ms;
            let due = usize::try_from(due).unwrap_or(words.len());
            if due > said {
                let delta = words[said..due].concat();
                steps.push((at, Step::Words { item: item.clone(), delta, is_spoken: true }));
                said = due;
            }
            let is_silent = sent_ms < silence_ms;
            steps.push((at, Step::Sound { item: item.clone(), at_ms: sent_ms, ms, is_silent }));
            sent_ms += ms;
            at += Duration::from_millis(ms) / speed.max(1);
        }
        let ended = |kind: &str| json!({"type": kind, "item_id": item, "transcript": text});
        steps.push((at, Step::Part(ended("response.output_audio.done"))));
        steps.push((at, Step::Part(ended("response.output_audio_transcript.done"))));
        at
    }
}

fn written(item: &str, text: &str, at: Duration, steps: &mut Vec<(Duration, Step)>) {
    steps.push((at, Step::Item { id: item.to_owned(), item: message(item) }));
    let (id, delta) = (item.to_owned(), text.to_owned());
    steps.push((at, Step::Words { item: id, delta, is_spoken: false }));
    let done = json!({"type": "response.output_text.done", "item_id": item, "text": text});
    steps.push((at, Step::Part(done)));
}

fn called(
    item: &str,
    call: &str,
    (name, arguments): (&str, &str),
    at: Duration,
    steps: &mut Vec<(Duration, Step)>,
) {
    let whole = |arguments: &str| {
        json!({
            "id": item, "type": "function_call", "call_id": call, "name": name,
            "arguments": arguments, "status": "completed",
        })
    };
    steps.push((at, Step::Item { id: item.to_owned(), item: whole("") }));
    let done = "response.function_call_arguments.done";
    steps.push((
        at,
        Step::Part(json!({
            "type": done, "item_id": item, "call_id": call, "name": name, "arguments": arguments,
        })),
    ));
    let done = json!({"type": "response.output_item.done", "item": whole(arguments)});
    steps.push((at, Step::Part(done)));
}

fn message(item: &str) -> Value {
    json!({"id": item, "type": "message", "role": "assistant", "content": []})
}

impl Answering {
    pub(super) const fn new(response: String, metadata: Value) -> Self {
        Self { response, metadata }
    }

    pub(super) fn created(&self) -> Value {
        json!({"type": "response.created", "response": self.object("in_progress", &Value::Null)})
    }

    pub(super) fn done(&self, status: &str, details: &Value) -> Value {
        json!({"type": "response.done", "response": self.object(status, details)})
    }

    /// A step as the text that goes out.
    pub(super) fn text_of(&self, step: &Step, voice: &[i16]) -> String {
        let mut event = match step {
            Step::Item { item, .. } => json!({"type": "response.output_item.added", "item": item}),
            Step::Sound { item, at_ms, ms, is_silent } => {
                let samples = sound(voice, *at_ms, *ms, *is_silent);
                let delta = output_audio_delta(&self.response, item, &samples);
                return ServerEvent::AudioDelta(delta).encode(None);
            }
            Step::Words { item, delta, is_spoken: true } => json!({
                "type": "response.output_audio_transcript.delta", "item_id": item, "delta": delta,
            }),
            Step::Words { item, delta, is_spoken: false } => json!({
                "type": "response.output_text.delta", "item_id": item, "delta": delta,
            }),
            Step::Part(event) => event.clone(),
            Step::Done { status, details } => {
                return self.done(status, details).to_string();
            }
        };
        event["response_id"] = json!(self.response);
        (event["output_index"], event["content_index"]) = (json!(0), json!(0));
        event.to_string()
    }

    fn object(&self, status: &str, details: &Value) -> Value {
        json!({
            "id": self.response, "object": "realtime.response", "status": status,
            "status_details": details, "output": [], "usage": null,
            "conversation_id": "conv_1", "metadata": self.metadata,
        })
    }
}

/// A stretch of the voice, again and again from its beginning.
fn sound(voice: &[i16], at_ms: u64, ms: u64, is_silent: bool) -> Vec<i16> {
    let count = usize::try_from(ms * 24).unwrap_or_default();
    if is_silent {
        return vec![0; count];
    }
    let from = usize::try_from(at_ms * 24).unwrap_or_default();
    voice.iter().copied().cycle().skip(from % voice.len().max(1)).take(count).collect()
}

fn millis(lasts: Duration) -> u64 {
    u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX)
}

/// How much sound comes in one event.
const DELTA_MS: u64 = 200;
