//! What happened when, printed as it happens: for people, or as JSON lines.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::print;
use crate::sys::clock;

/// The story of one call.
#[derive(Debug)]
pub(super) struct Timeline {
    begun: Instant,
    as_json: bool,
}

impl Timeline {
    pub(super) fn new(as_json: bool) -> Self {
        Self { begun: clock::now(), as_json }
    }

    /// How long the story has taken so far.
    pub(super) fn elapsed(&self) -> Duration {
        clock::now().duration_since(self.begun)
    }

    /// Something of the command's own.
    pub(super) fn step(&self, name: &str, detail: &str) {
        self.tell(clock::now(), name, detail, &json!({ "detail": detail }));
    }

    /// Something the caller noticed.
    pub(super) fn noticed(&self, at: Instant, name: &str, detail: &str) {
        self.tell(at, name, detail, &json!({ "detail": detail }));
    }

    /// Something an agent's client was told.
    pub(super) fn event(&self, event: &Value) {
        let name = event["type"].as_str().unwrap_or("event");
        self.tell(clock::now(), name, &describe(event), event);
    }

    /// Figures at the end.
    pub(super) fn table(&self, title: &str, rows: &[(&str, String)]) {
        if self.as_json {
            let rows: serde_json::Map<String, Value> =
                rows.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            print::line(&json!({ "type": "table", "title": title, "rows": rows }).to_string());
            return;
        }
        print::line("");
        print::line(title);
        for (name, value) in rows {
            print::line(&format!("  {name:<52} {value:>12}"));
        }
    }

    /// Plain words between the lines, which a program that reads JSON has no use for.
    pub(super) fn say(&self, text: &str) {
        if !self.as_json {
            print::line(text);
        }
    }

    fn tell(&self, at: Instant, name: &str, detail: &str, whole: &Value) {
        let seconds = at.saturating_duration_since(self.begun).as_secs_f64();
        if self.as_json {
            let line = json!({ "at": seconds, "name": name, "event": whole });
            return print::line(&line.to_string());
        }
        print::line(&format!("{seconds:8.3} s  {name:<20} {detail}"));
    }
}

/// The part of an event that a person wants to read.
fn describe(event: &Value) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    match text("type") {
        "status" => text("status").to_owned(),
        "state" => format!("{} -> {} ({})", text("from"), text("to"), text("reason")),
        "transcript" if event["isFinal"] == true => format!("\"{}\"", text("text")),
        "transcript" => format!("\"{} …\"", text("text")),
        "speak" => format!("\"{}\"", text("text")),
        "speak-status" => format!("{}, heard {} ms", text("status"), event["heardMs"]),
        "vad_start" | "vad_end" => format!("at {} ms of the call", event["atMs"]),
        "participant_joined" | "participant_left" => text("name").to_owned(),
        "room_message" => format!("{}: \"{}\"", text("name"), text("text")),
        "room_joined" => text("roomUrl").to_owned(),
        "room_left" | "voice-status" => {
            format!("{} {}", text("status"), text("reason")).trim().to_owned()
        }
        "error" | "transcriber_fatal_error" => format!("{}: {}", text("code"), text("message")),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_described_by_what_matters() {
        let transcript = json!({"type": "transcript", "text": "hello", "isFinal": true});
        assert_eq!(describe(&transcript), "\"hello\"");
        let left = json!({"type": "voice-status", "status": "left", "reason": "requested"});
        assert_eq!(describe(&left), "left requested");
    }
}
