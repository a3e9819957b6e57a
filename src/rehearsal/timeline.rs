//! What has happened in a rehearsal, as text that people read and tests compare.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Notification, Phase, SpeakStatus};
use crate::models::conversation::LinkId;

/// Lines in the order of their time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    lines: Vec<(Duration, String)>,
    /// The stretch of the agent's sound that is being heard: its first and its last packet.
    sounding: Option<(Duration, Duration)>,
}

impl Timeline {
    /// Each line with its time.
    pub fn lines(&self) -> impl Iterator<Item = (Duration, &str)> {
        self.lines.iter().map(|(at, line)| (*at, line.as_str()))
    }

    pub(super) fn note(&mut self, at: Duration, line: impl Into<String>) {
        self.lines.push((at, line.into()));
    }

    /// A packet of the agent's has left.
    pub(super) fn sound(&mut self, now: Duration) {
        if let Some((_, last)) = self.sounding.as_mut().filter(|(_, last)| now <= *last + PAUSE) {
            *last = now;
            return;
        }
        self.silence();
        self.sounding = Some((now, now));
    }

    /// All that there is has been heard: the lines fall into the order of their time.
    pub(super) fn finish(&mut self) {
        self.silence();
        self.lines.sort_by_key(|(at, _)| *at);
    }

    fn silence(&mut self) {
        let Some((first, last)) = self.sounding.take() else { return };
        let until = last + super::human::FRAME;
        let lasts = until.saturating_sub(first).as_millis();
        self.note(first, "sound");
        self.note(until, format!("silence after {lasts} ms"));
    }

    /// What clients are told.
    pub(super) fn told(&mut self, now: Duration, told: &Notification) {
        let line = match told {
            Notification::Status(activity) => format!("status {}", activity.as_str()),
            Notification::State { to: Phase::Ended, reason, .. } => format!("ended: {reason}"),
            Notification::ToolCall { id, name, arguments_json, .. } => {
                format!("tool {id} {name} {arguments_json}")
            }
            Notification::CancelToolCall { id, reason } => format!("cancel tool {id} {reason:?}"),
            Notification::RoomJoined { participants, .. } => {
                let names: Vec<_> = participants.iter().map(|who| who.name.as_str()).collect();
                format!(
                    "joined {}",
                    if names.is_empty() { "nobody".into() } else { names.join(", ") }
                )
            }
            Notification::RoomLeft { reason, .. } => format!("left: {reason}"),
            Notification::ParticipantJoined(who) => format!("{} comes in", who.name),
            Notification::ParticipantLeft { participant, reason } => {
                format!("{} is gone: {reason}", participant.name)
            }
            Notification::RoomMessage { participant, text } => {
                format!("{} writes {:?}", participant.name, text.expose())
            }
            Notification::VadStart { participant, .. } => format!("vad_start {participant}"),
            Notification::VadEnd { participant, .. } => format!("vad_end {participant}"),
            Notification::Transcript { participant, text, is_final: true, .. } => {
                format!("transcript {participant} {:?}", text.expose())
            }
            Notification::Speak { utterance, text, is_final: true } => {
                format!("speak {utterance} {:?}", text.expose())
            }
            Notification::State { .. }
            | Notification::Transcript { .. }
            | Notification::Speak { .. }
            | Notification::VoiceStatus { .. } => return,
            Notification::SpeakStatus { utterance, status: SpeakStatus::Started, .. } => {
                format!("{utterance} started")
            }
            Notification::SpeakStatus { utterance, status, heard_ms, text } => {
                let status = if *status == SpeakStatus::Finished { "finished" } else { "cut" };
                format!("{utterance} {status}, heard {heard_ms} ms {:?}", text.expose())
            }
            Notification::TranscriberFatalError { code, .. } => format!("fatal {code}"),
            Notification::Handoff { to, .. } => format!("handed off to {to}"),
            Notification::Error { code, message } => format!("error {code} {message:?}"),
        };
        self.note(now, line);
    }

    /// What the model is told; its sound is left out.
    pub(super) fn asked(&mut self, now: Duration, link: LinkId, text: &str) {
        let event: Value = serde_json::from_str(text).unwrap_or_default();
        let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let what = match event["type"].as_str().unwrap_or_default() {
            "session.update" => return,
            "conversation.item.truncate" => {
                format!("truncate {} at {} ms", field("item_id"), event["audio_end_ms"])
            }
            "conversation.item.delete" => format!("delete {}", field("item_id")),
            "response.cancel" => format!("cancel {}", field("response_id")),
            "response.create" => match event["response"]["instructions"].as_str() {
                Some(instructions) => format!("create {:?}", short(instructions)),
                None => "create".to_owned(),
            },
            "conversation.item.create" => item(&event["item"]),
            other => other.trim_start_matches("input_audio_buffer.").to_owned(),
        };
        self.note(now, format!("{} {what}", arrow(link)));
    }
}

/// An item that is added to a conversation.
fn item(item: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match item["type"].as_str().unwrap_or_default() {
        "function_call_output" => {
            format!("output {} {}", text(&item["call_id"]), text(&item["output"]))
        }
        "function_call" => format!("call {} {}", text(&item["call_id"]), text(&item["name"])),
        _ => {
            let content = &item["content"][0];
            let words = content["text"].as_str().unwrap_or("(no text)");
            format!("item {} {:?}", text(&item["role"]), short(words))
        }
    }
}

/// The beginning of a text, and three dots in place of the rest.
fn short(text: &str) -> String {
    let text = text.trim_start();
    let end = text.char_indices().nth(TEXT_MAX).map_or(text.len(), |(at, _)| at);
    if end < text.len() { format!("{}...", &text[..end]) } else { text.to_owned() }
}

/// To the model; of later sockets, with their number.
pub(super) fn arrow(link: LinkId) -> String {
    if link.0 == 1 { "->".to_owned() } else { format!("->{}", link.0) }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in &self.lines {
            writeln!(f, "{:6.2} {line}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

/// How much of a text is shown, in signs.
const TEXT_MAX: usize = 48;

/// Longer than that between two packets is silence.
const PAUSE: Duration = Duration::from_millis(50);
